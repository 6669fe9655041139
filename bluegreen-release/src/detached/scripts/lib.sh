# Whether a process runs, and is still the one that had this pid: PID START.
is_process() {
    [ -n "$1" ] && stat_of "$1" && [ "$start" = "$2" ]
}

# Reads what is known of the last start: the leader of its session, its program, its mark. Pids of an earlier boot are none.
look() {
    leader= leader_start= program= program_start= mark=
    recall || return 1
    [ "$boot" = "$(cat /proc/sys/kernel/random/boot_id)" ] || return 1
    mark=BLUEGREEN_INSTANCE=$token
    [ ! -f "$slot/leader" ] || read -r leader leader_start < "$slot/leader"
    [ ! -f "$slot/program" ] || read -r program program_start < "$slot/program"
}

# Prints the pids of all that belongs to the last start and runs: its session, and what has its mark in the environment.
members() {
    [ -n "$mark" ] || return 0
    ours=
    # A session keeps its number while anything is in it, but after that another one may get it.
    if is_process "$leader" "$leader_start" || { is_process "$program" "$program_start" && [ "$session" = "$leader" ]; }; then
        ours=$leader
    fi
    {
        [ -z "$ours" ] || cat /proc/[0-9]*/stat 2> /dev/null |
            awk -v session="$ours" '{ pid = $1; sub(/.*\) /, ""); if ($4 == session) print pid }'
        grep -lsF "$mark" /proc/[0-9]*/environ | cut -d/ -f3
    } | sort -un | while read -r pid; do
        # The names of processes may have led the search astray.
        stat_of "$pid" || continue
        if [ -n "$ours" ] && [ "$session" = "$ours" ] && [ "$start" -ge "$leader_start" ] ||
            grep -qsF "$mark" "/proc/$pid/environ"; then
            echo "$pid"
        fi
    done
}

# Whether the program of the last start runs.
is_up() {
    look && [ ! -e "$slot/ended" ] || return 1
    if [ -n "$program" ]; then
        is_process "$program" "$program_start"
    else
        is_process "$leader" "$leader_start" || [ -n "$(members)" ]
    fi
}

# How the program ended, which is written down a moment after.
ending() {
    tries=100
    while [ ! -e "$slot/ended" ] && [ "$tries" -gt 0 ] && look && is_process "$leader" "$leader_start"; do
        tries=$((tries - 1))
        sleep 0.05
    done
    if [ -e "$slot/stopping" ]; then
        echo "stopped on request"
    elif [ -s "$slot/ended" ]; then
        cat "$slot/ended"
    elif recall && [ "$boot" != "$(cat /proc/sys/kernel/random/boot_id)" ]; then
        echo "the machine was restarted since"
    else
        echo "it was ended together with its supervisor, so its exit status is not known"
    fi
}

# Ends all of the last start, by force after a time: GRACE, in hundredths of a second. What was killed is in `killed`.
end_all() {
    killed= asked=" "
    clock
    until=$((now + $1)) last=
    while left=$(members) && [ -n "$left" ]; do
        clock
        # Each is asked once, also one that was begun after the first look.
        for pid in $left; do
            case $asked in *" $pid "*) continue ;; esac
            kill -TERM "$pid" 2> /dev/null
            asked="$asked$pid "
        done
        if [ "$now" -ge "$until" ]; then
            [ -n "$last" ] || {
                killed=$(named "$left")
                last=$((now + 1000))
            }
            [ "$now" -lt "$last" ] || fail "processes are still there after SIGKILL: $(printf '%s' "$left" | tr '\n' ' '). ps -o pid,wchan:32,args shows what they wait for"
            # shellcheck disable=SC2086
            said=$(kill -KILL $left 2>&1) || [ -z "$(members)" ] || [ "$now" -lt "$((last - 500))" ] || fail "cannot kill: $said"
        fi
        sleep 0.05
    done
}

# Names processes, but those that only watch over the program: PIDS.
named() {
    for pid in $1; do
        stat_of "$pid" && name=$(tr -d '\n' < "/proc/$pid/comm") || continue
        [ "$pid" = "$leader" ] || [ "$parent" = "$leader" ] || [ "$name" = dd ] || echo "process $pid ($name)"
    done
}

# The last lines of the log: COUNT.
last_lines() {
    cat "$slot/log.1" "$slot/log" 2> /dev/null | tail -c 900000 | tail -n "$1"
}
