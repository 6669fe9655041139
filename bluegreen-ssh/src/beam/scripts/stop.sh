# Ends what runs in a slot: BASE SLOT GRACE, in hundredths of a second. Reply: `stopped`, `killed`, or `nothing`.
#
# A node takes SIGTERM for what `stop` asks it by a message: to stop its applications in order. No cookie is needed
# for that, and no second node. A signal that comes before it has booted may be lost, and is repeated.
place "$1" "$2" && recall || reply nothing
lock "$slot/lock"
recall || reply nothing
! gone "$token" || reply nothing
echo "stopped on request" > "$slot/ended"
clock
until=$((now + $3)) asked= said=stopped round=0
while ! gone "$token"; do
    clock
    if [ "$now" -ge "$until" ]; then
        # Only the node has a grace; what is left when it is gone is nobody's.
        [ -z "$beam" ] || said=killed
        end "$token"
        break
    fi
    if [ -n "$beam" ]; then
        if [ "$beam" != "$asked" ] || { [ ! -e "$slot/booted.$beam" ] && [ $((round % 10)) -eq 0 ]; }; then
            kill -TERM "$beam" 2> /dev/null
            asked=$beam
        fi
    elif [ -n "$asked" ]; then
        [ "$until" -le $((now + 100)) ] || until=$((now + 100))
        asked=gone
    else
        # shellcheck disable=SC2086 # split into words on purpose
        kill -TERM $members 2> /dev/null
    fi
    round=$((round + 1))
    sleep 0.05
done
reply "$said"
