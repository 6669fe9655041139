# Puts a link back that nginx has not followed, if it still points where it was put. STATE LINK WANTED BACK
state=$1 link=$2 wanted=$3 back=$4
lock "$state"
now=$(target_of "$link")
[ "$now" = "$wanted" ] || reply "changed $now"
if [ -n "$back" ]; then point "$link" "$back"; else rm -f "$link"; fi
reply ended
