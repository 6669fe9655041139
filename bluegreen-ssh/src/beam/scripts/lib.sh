# Finds the places of one slot: BASE SLOT.
place() {
    base=$(CDPATH= cd -- "$1" 2> /dev/null && pwd -P) || return 1
    slot=$base/slots/$2
}

# Reads the record of what was started last in the slot.
recall() {
    version= content= token= port= node= started=
    [ -f "$slot/record" ] || return 1
    while read -r key value; do
        case $key in
        version | content | token | port | node | started) eval "$key=\$value" ;;
        esac
    done < "$slot/record"
    [ -n "$token" ]
}

# Replies `changed <what> <path>`, with lines behind `log`, where others have changed what a prepare writes, unless that is to
# be overwritten: the file of an environment that is to be. What no shell can read is repaired. `cookie` is the one to be.
#
# Values are secrets: only names are told.
refuse_changed() {
    [ -z "$overwrite" ] || return 0
    if is_changed "$slot/env" && sh -n "$slot/env" 2> /dev/null && ! is_same "$1" "$slot/env"; then
        rm -f "$slot/env.new"
        names=$(difference "$slot/env" | sed -n 's/^\([+-]\)export \([A-Za-z_][A-Za-z0-9_]*\)=.*/\1\2/p')
        reply "changed environment $slot/env" log "$names"
    fi
    if [ -n "$cookie" ] && is_changed "$base/cookie" && [ "$(cat "$base/cookie")" != "$cookie" ]; then
        rm -f "$slot/env.new"
        reply "changed cookie $base/cookie" log
    fi
}

# Keeps the environment of what was prepared in the slot before a version: it may be started again when this one is undone.
keep_environment() {
    of=$(cat "$slot/env.of" 2> /dev/null)
    [ "$of" != "$1" ] || return 0
    rm -f "$slot"/env-*
    [ -z "$of" ] || [ ! -e "$slot/env" ] || (umask 077 && cp "$slot/env" "$slot/env-$of") || fail "cannot write in $slot"
    echo "$1" | put "$slot/env.of"
}

# Brings it back for the start of that.
bring_environment_back() {
    [ -e "$slot/env-$1" ] && [ "$(cat "$slot/env.of")" != "$1" ] || return 0
    mv -f "$slot/env-$1" "$slot/env.new" && replace "$slot/env"
    echo "$1" | put "$slot/env.of"
}

# Finds what runs of a start: all in `members`, the node in `beam`, hearts in `hearts`.
#
# A start has a mark in its environment, which no other process has, and which nobody can take away from outside. So
# a process id that is used again is not mistaken for ours. The port mapper serves everyone, whoever started it.
#
# One that forks and ends just then is missed, and its child too: that nothing runs is only believed when seen twice.
look() {
    look_once "$1"
    [ -n "$members" ] || { sleep 0.02 && look_once "$1"; }
}

look_once() {
    members= beam= hearts= oldest=
    # shellcheck disable=SC2013 # the names have no blanks
    for found in $(grep -lszxF "BLUEGREEN_START=$1" /proc/[0-9]*/environ); do
        pid=${found#/proc/}
        pid=${pid%/environ}
        read -r stat < "/proc/$pid/stat" || continue
        comm=${stat#*\(}
        comm=${comm%\)*}
        # The name stands in parentheses and may hold anything; the 20th word after it is the start time.
        # shellcheck disable=SC2086 # split into words on purpose
        set -- "$1" ${stat##*\) }
        case $2 in Z | X) continue ;; esac
        case $comm in
        epmd) continue ;;
        heart) hearts="$hearts $pid" ;;
        beam*)
            # A node may run others; it is older than they are.
            if [ -z "$oldest" ] || [ "${21}" -lt "$oldest" ]; then
                oldest=${21}
                beam=$pid
            fi
            ;;
        esac
        members="$members $pid"
    done
} 2> /dev/null

# Whether nothing of a start is left. One look can miss a process that forks and ends at that moment, as those do that bring
# a node up; several in a row cannot. What was found last is in `members` and the others.
gone() {
    for pause in '' 0.05 0.05; do
        [ -z "$pause" ] || sleep "$pause"
        look "$1"
        [ -z "$members" ] || return 1
    done
}

# Ends all that is left of a start by force. A heart would bring its node up again.
end() {
    tries=0
    while ! gone "$1"; do
        # shellcheck disable=SC2086 # split into words on purpose
        [ -z "$hearts" ] || kill -KILL $hearts 2> /dev/null
        # shellcheck disable=SC2086 # split into words on purpose
        kill -KILL $members 2> /dev/null
        tries=$((tries + 1))
        [ "$tries" -le 100 ] || fail "still there after SIGKILL:$members"
        [ "$tries" -eq 1 ] || sleep 0.1
    done
    return 0
}

# The time in hundredths of a second, in `now`.
clock() {
    read -r now rest < /proc/uptime
    now=${now%.*}${now#*.}
}

# The last lines of the slot's log, oldest first: COUNT FILE. Without a file it is the log of run_erl, whose files
# are numbered in a circle with one number left out, which is behind the newest.
tail_log() {
    if [ -n "$2" ]; then
        [ ! -f "$2" ] || tail -n "$1" -- "$2"
        return
    fi
    cd "$slot/tmp/log" 2> /dev/null || return 0
    newer= older= last=
    # shellcheck disable=SC2012 # the names in it are numbers and links
    for number in $(ls | sed -n 's/^erlang\.log\.\([0-9]*\)$/\1/p' | sort -n); do
        if [ -n "$last" ] && [ "$number" -ne $((last + 1)) ]; then
            newer=$older
            older=
        fi
        older="$older erlang.log.$number"
        last=$number
    done
    # shellcheck disable=SC2086 # split into words on purpose
    [ -z "$last" ] || cat $older $newer | tr -d '\r' | without_run_erl | tail -n "$1"
}

# Leaves out what run_erl notes of itself, in two lines each: who notes it, and what.
without_run_erl() {
    awk '/^run_erl \[[0-9]+\]/ { skip = 1; next }
        skip { skip = 0; if (/^(Args before exec|argv\[)/) next }
        { print }'
}

# Runs a command of a release: VERSION ENVIRONMENT-FILE WORDS... Its environment is the same however we came here. The
# secrets in it come from files, so no list of processes shows them: a cookie that is no word but a flag makes the node
# read the one in its home. The service itself carries `mark`.
#
# The first of two interfaces counts, so ours is in front; and at the end too, since releases replace ERL_AFLAGS.
release() {
    program=$base/releases/$1/bin/$app
    environment=$2
    shift 2
    [ -x "$program" ] || fail "$program is not there"
    cd "$slot" || fail "cannot enter $slot"
    # shellcheck disable=SC2016 # the inner shell expands it
    env -i PATH="$PATH" USER="${USER:-$(id -un)}" LOGNAME="${LOGNAME:-$(id -un)}" SHELL=/bin/sh TERM="${TERM:-dumb}" \
        LANG=C.UTF-8 HOME="$slot/home" PORT="$port" SLOT="${slot##*/}" VERSION="$version" \
        RELEASE_NODE="$node" RELEASE_DISTRIBUTION="$distribution" RELEASE_TMP="$slot/tmp" \
        RELEASE_COOKIE=-cookie_in_file ERL_EPMD_PORT="$mapper" $address ERL_AFLAGS="$interface" ERL_ZFLAGS="$interface$hook" \
        ERL_CRASH_DUMP="$slot/tmp/erl_crash.dump" \
        BLUEGREEN_START="$mark" BLUEGREEN_BOOTED="$slot/booted." \
        sh -c '[ -z "$1" ] || . "$1" || exit 1; shift; exec "$@"' sh "$environment" "$program" "$@"
}

address= interface= hook= mark=
if [ "$reach" = loopback ]; then
    address=ERL_EPMD_ADDRESS=127.0.0.1
    # By its name, which the node takes for the address of its family: `env.sh` or `vm.args` may ask for IPv6.
    interface='-kernel inet_dist_use_interface loopback'
fi
