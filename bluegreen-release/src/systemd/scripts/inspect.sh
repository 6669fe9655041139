# Says what is in a slot: BASE SLOT UNIT. Replies: `absent`, `running <version>`, `degraded <version> <reason>`, `stopped
# <version> <reason>`; a version that is not known is `?`.
unit=$3
place "$1" "$2" || reply absent
look
recall || {
    is_up && reply "running ?"
    reply absent
}
if [ "$ActiveState/$SubState" = activating/auto-restart ]; then
    reply "degraded $version $(ending), and is restarted (so far $NRestarts times)"
fi
is_up && reply "running $version"
if [ -s "$slot/ended" ]; then
    reason=$(cat "$slot/ended")
elif [ "$boot" != "$(this_boot)" ]; then
    reason="the machine was restarted since"
else
    reason=$(ending)
fi
reply "stopped $version $reason"
