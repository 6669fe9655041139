# Stops what runs in a slot: BASE SLOT UNIT GRACE, in hundredths of a second. Reply: `stopped`, `killed`, or `nothing`.
unit=$3
place "$1" "$2" || reply nothing
[ -d "$slot" ] || reply nothing
lock "$slot/lock"
look
is_up || reply nothing
echo "stopped on request" > "$slot/ended"
clock
until=$((now + $4)) said=stopped
tell stop --no-block "$unit" || fail "systemd does not stop $unit"
while look && is_up; do
    clock
    if [ "$now" -ge "$until" ]; then
        said=killed
        tell kill -s KILL "$unit" || fail "systemd does not kill $unit"
        until=$((now + 1000))
    fi
    sleep 0.05
done
[ "$Result" != timeout ] || said=killed
reply "$said"
