# What a link says, and the files that it and the two slots really are; `open` while a switch was begun and not seen to its
# end. STATE LINK BLUE GREEN
state=$1 link=$2 blue=$3 green=$4
verify "$state"
now=$(target_of "$link")
[ "$now" != foreign ] || reply foreign
[ -n "$now" ] || reply absent
really=$(readlink -f "$link")
set --
[ ! -e "$state/switching" ] || set -- open
reply "link $now" "file $really" "blue $(readlink -f "$blue")" "green $(readlink -f "$green")" "$@"
