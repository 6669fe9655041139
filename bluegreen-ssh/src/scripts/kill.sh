# Kills the processes $1, $2, ..., their sessions, their groups, and all their descendants, until none is left.
if ! read -r line < /proc/$$/stat; then
    echo "/proc cannot be read" >&2
    exit 1
fi
roots=" $* "
family() {
    found=$roots
    before=
    while [ "$before" != "$found" ]; do
        before=$found
        for stat in /proc/[0-9]*/stat; do
            read -r line < "$stat" || continue
            pid=${line%% *}
            # The name of the program may hold blanks and parentheses: what counts comes after the last one.
            # shellcheck disable=SC2086 # split into words on purpose
            set -- ${line##*) }
            [ "$1" = Z ] && continue
            [ "$pid" = $$ ] && continue
            case "$found" in *" $pid "*) continue ;; esac
            case "$found" in *" $2 "*) found="$found$pid " && continue ;; esac
            case "$roots" in *" $3 "* | *" $4 "*) found="$found$pid " ;; esac
        done
    done
    alive=
    for pid in $found; do
        read -r line < "/proc/$pid/stat" || continue
        # shellcheck disable=SC2086 # split into words on purpose
        set -- ${line##*) }
        [ "$1" = Z ] || alive="$alive $pid"
    done
} 2> /dev/null
tries=0
while [ $tries -lt 50 ]; do
    family
    [ -z "$alive" ] && exit 0
    # shellcheck disable=SC2086 # split into words on purpose
    kill -KILL $alive 2> /dev/null
    tries=$((tries + 1))
    [ $tries -gt 1 ] && sleep 0.1
done
echo "still there: $alive" >&2
exit 1
