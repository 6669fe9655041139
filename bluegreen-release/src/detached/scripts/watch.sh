# Waits until what runs in a slot has ended: BASE SLOT LINES. Reply: `ended <how>`, with the log's lines behind `log`.
place "$1" "$2" && recall || reply "ended nothing was started"
while is_up; do sleep 0.2; done
printf '%s\n' "ended $(ending)" log
last_lines "$3"
