# Starts a version, and waits until its program is known: BASE SLOT VERSION DIGEST SETTINGS LIMIT LINES WORDS... An empty DIGEST
# is any. LIMIT is of the log, in bytes; WORDS are the command.
#
# Replies: `running`, `occupied <version>`, `absent`, `other <digest>`; or `failed <how>`, with the log's lines behind `log`.
wanted=$3 digest_wanted=$4 settings_wanted=$5 limit=$6 lines=$7
find_release "$1" "$2" "$wanted" "$digest_wanted"
shift 7

# Starts the supervisor: WORDS...
launch() {
    # A stop that was cut off is brought to its end; so is what a program that has ended has left.
    end_all 500
    rm -f "$slot/ended" "$slot/stopping" "$slot/leader" "$slot/program" "$slot/log.1"
    [ ! -e "$slot/log" ] || mv -f "$slot/log" "$slot/log.previous"
    take_release "$wanted"
    printf '%s' "$supervisor" | put "$slot/supervise"
    token=$(cat /proc/sys/kernel/random/uuid)
    printf '%s\n' "version $wanted" "digest $digest_here" "settings $settings_wanted" \
        "boot $(cat /proc/sys/kernel/random/boot_id)" "token $token" | put "$slot/record"
    fsync_path "$slot"
    BLUEGREEN_INSTANCE=$token setsid sh "$slot/supervise" "$slot" "$limit" "$base/releases/$wanted" "$@" \
        < /dev/null > /dev/null 2> "$slot/supervise.log" &
    child=$!
}

# Whether the program runs, or it is known that it does not.
is_begun() {
    look
    [ ! -e "$slot/ended" ] || return 0
    # Until it has become the program, its process is a shell with the mark among its words.
    if [ -n "$program" ] && ! grep -qsF -- "$token" "/proc/$program/cmdline"; then return 0; fi
    if [ -n "$leader" ]; then
        ! is_process "$leader" "$leader_start"
    else
        [ -n "$child" ] && ! kill -0 "$child" 2> /dev/null
    fi
}

child=
lock "$slot/lock"
if is_up && [ ! -e "$slot/stopping" ]; then
    only_this "$wanted" "$settings_wanted"
else
    launch "$@"
fi
# The program is known in a moment, or the supervisor ends.
tries=200
until is_begun; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || break
    sleep 0.05
done
[ -z "$program" ] || reply running
how=$(tail -n 3 "$slot/supervise.log" | tr '\n' ' ')
end_all 0
printf '%s\n' "failed it could not be started: $how" log
last_lines "$lines"
