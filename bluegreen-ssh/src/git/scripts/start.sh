# Brings a version that was prepared onto the web root: BASE TURN VERSION LINES.
#
# Replies: `running <commit>`, `occupied <version>`, `taken <web root>`, `absent`, `late`; or `failed`, with lines of the log
# behind `log`.
place "$1" || reply absent
take_turn "$2"
shift
[ -f "$base/versions/$2" ] && read -r commit < "$base/versions/$2" || reply absent
look
! is_taken || reply "taken $web"
if [ "$state" = running ]; then
    [ "$served" = "$2" ] || reply "occupied $served"
    # A start that was cut off may have switched and not restarted.
    [ "$(cat "$base/live" 2> /dev/null)" != "$2" ] || reply "running $commit"
fi
(deploy "$2" "$commit") > "$base/log" 2>&1 && reply "running $commit"
printf '%s\n' failed log
tail -n "$3" "$base/log"
