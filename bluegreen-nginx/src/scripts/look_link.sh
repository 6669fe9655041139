# What a link says, and the files that it and the two slots really are. LINK BLUE GREEN
link=$1 blue=$2 green=$3
now=$(target_of "$link")
[ "$now" != foreign ] || reply foreign
[ -n "$now" ] || reply absent
really=$(readlink -f "$link")
reply "link $now" "file $really" "blue $(readlink -f "$blue")" "green $(readlink -f "$green")"
