# Waits until what runs in a slot has ended for good, or too often: BASE SLOT UNIT RESTARTS LINES. Reply: `ended <how>`, with the
# journal's lines behind `log`.
unit=$3 restarts=$4 lines=$5
place "$1" "$2" && recall || reply "ended nothing was started"
how=
while look && is_up && [ "$NRestarts" -le "$restarts" ]; do
    # It is told how it ended until it is restarted.
    if [ "$SubState" = auto-restart ]; then
        how=$(ending)
        [ "$NRestarts" -lt "$restarts" ] || break
    fi
    sleep 0.2
done
printf '%s\n' "ended ${how:-$(ending)} (restarts: $NRestarts)" log
journal "$lines" yes
