# Says what is in a slot: BASE SLOT. Replies: `absent`, `running <version> <port>`, `stopped <version> <reason>`.
place "$1" "$2" && recall || reply absent
look "$token"
[ -z "$beam" ] || reply "running $version $port"
if [ -s "$slot/ended" ]; then
    reason=$(cat "$slot/ended")
elif [ "$started" != "$(cat /proc/sys/kernel/random/boot_id)" ]; then
    reason="the machine was restarted since"
else
    reason="it ended by itself, or was killed"
fi
reply "stopped $version $reason"
