# Kills the process $1, its session, its group, and all their descendants, until none is left.
family() {
    found=" $1 "
    before=
    while [ "$before" != "$found" ]; do
        before=$found
        for stat in /proc/[0-9]*/stat; do
            read -r line < "$stat" || continue
            pid=${line%% *}
            # The name of the program may hold blanks and parentheses: what counts comes after the last one.
            set -- "$1" ${line##*) }
            [ "$2" = Z ] && continue
            [ "$pid" = $$ ] && continue
            case "$found" in *" $pid "*) continue ;; esac
            case "$found" in
                *" $3 "*) found="$found$pid " ;;
                *) if [ "$4" = "$1" ] || [ "$5" = "$1" ]; then found="$found$pid "; fi ;;
            esac
        done
    done
    alive=
    for pid in $found; do
        read -r line < "/proc/$pid/stat" || continue
        set -- "$1" ${line##*) }
        [ "$2" = Z ] || alive="$alive $pid"
    done
} 2> /dev/null
tries=0
while [ $tries -lt 50 ]; do
    family "$1"
    [ -z "$alive" ] && exit 0
    kill -KILL $alive 2> /dev/null
    tries=$((tries + 1))
    [ $tries -gt 1 ] && sleep 0.1
done
echo "still there: $alive" >&2
exit 1
