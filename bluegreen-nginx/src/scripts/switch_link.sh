# Points a link to another file, if it still points where it is expected to, tests the configuration and reloads nginx.
# STATE LINK EXPECTED WANTED BACK PID_FILE ERROR_LOG; BACK is where it points again if nginx refuses. An empty EXPECTED or
# BACK is no link.
state=$1 link=$2 expected=$3 wanted=$4 back=$5 pid_file=$6 error_log=$7

# There while a switch was begun and not seen to its end.
switching=$state/switching

put_back() {
    if [ -n "$back" ]; then point "$link" "$back"; else rm -f "$link"; fi
    [ -n "$open" ] || rm -f "$switching"
}

lock_state "$state"
now=$(target_of "$link")
[ "$now" != foreign ] || reply foreign
[ "$now" = "$expected" ] || reply "changed $now"
[ -f "$wanted" ] || reply missing
open=
if [ -e "$switching" ]; then open=yes; else : > "$switching" || fail "cannot write $switching"; fi
fsync_path "$state"
[ "$now" = "$wanted" ] || point "$link" "$wanted"
test_and_reload "$pid_file" "$error_log"
