# Where the flag link points, and how many flags are there. STATE
state=$1
verify "$state"
now=$(target_of "$state/live")
[ "$now" != foreign ] || reply foreign
[ -n "$now" ] || reply absent
set -- "$state"/live/[0-9][0-9]
[ -e "$1" ] || shift
reply "link $now" "flags $#"
