# Ends a switch of a link that still points where it was put: it stays there, or nginx has not followed it or does not show
# it, and it is put back. STATE LINK WANTED BACK taken|refused|withdrawn
state=$1 link=$2 wanted=$3 back=$4 how=$5
lock_state "$state"
now=$(target_of "$link")
[ "$now" = "$wanted" ] || reply "changed $now"
if [ "$how" != taken ]; then
    if [ -n "$back" ]; then point "$link" "$back"; else rm -f "$link"; fi
fi
rm -f "$state/switching"
[ "$how" != withdrawn ] || reload_old
reply ended
