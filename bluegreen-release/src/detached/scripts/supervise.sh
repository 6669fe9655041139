# Runs a program in its release until it ends, and writes down how: SLOT LIMIT DIRECTORY WORDS... It leads a session of its own,
# and holds the lock that it was started with until it is known.
slot=$1 limit=$2 directory=$3
shift 3
# Signals to the session are for the program. A handler, unlike ignoring, is not handed on to it.
trap : HUP INT QUIT TERM
stat_of $$ && [ "$session" = $$ ] && note "$slot/leader" $$ "$start" || fail "this is no session of its own"
exec 9>&-

# Becomes the program: SLOT DIRECTORY WORDS... Its name is the mark, by which it is seen that it has.
# shellcheck disable=SC2016 # it is for another shell
program='
start() { shift 19; echo "$1"; }
kernel=$(cat "/proc/$$/stat")
echo $$ $(start ${kernel##*) }) > "$1/program.new" && mv -f "$1/program.new" "$1/program" && cd "$2" || exit 1
umask 022
set -a
. "$1/env" || exit 1
set +a
shift 2
exec "$@"'

# Stores standard input, in two files that hold LIMIT bytes each and at most 1 MiB more.
keep_log() {
    # It ends when nobody is left who writes.
    trap '' HUP INT QUIT TERM
    umask 077
    while :; do
        # What finds no room on the disk is taken all the same, or the program would wait.
        counts=$(dd bs=4096 count=256 2>&1 >> "$slot/log") || counts=$(dd bs=4096 count=256 2>&1 > /dev/null)
        full=${counts%%+*}
        counts=${counts#*+}
        [ $((full + ${counts%% *})) -eq 256 ] || break
        [ "$(wc -c < "$slot/log")" -lt "$limit" ] || mv -f "$slot/log" "$slot/log.1"
    done
}

# An exit status as a shell tells it.
in_words() {
    case $1 in
    126) echo "exit status 126 (the program could not be run)" ;;
    127) echo "exit status 127 (the program was not found)" ;;
    129 | 1[3-8][0-9] | 19[0-2]) echo "killed by signal $(($1 - 128)) (exit status $1)" ;;
    *) echo "exit status $1" ;;
    esac
}

{
    trap : HUP INT QUIT TERM
    env -i PATH="$PATH" HOME="$HOME" USER="$(id -un)" LOGNAME="$(id -un)" BLUEGREEN_INSTANCE="$BLUEGREEN_INSTANCE" \
        sh -c "$program" "$BLUEGREEN_INSTANCE" "$slot" "$directory" "$@"
    status=$?
    in_words "$status" | put "$slot/ended"
} 2>&1 | keep_log
