# Points the flag link to another directory of flags, if it still points where it is expected to.
# STATE EXPECTED WANTED COUNT; an empty name is no link.
state=$1 expected=$2 wanted=$3 count=$4
lock_state "$state"
now=$(target_of "$state/live")
[ "$now" != foreign ] || reply foreign
[ "$now" = "$expected" ] || reply "changed $now"

if [ -z "$wanted" ]; then
    rm -f "$state/live"
    reply switched
fi

flags=$state/$wanted
[ -d "$flags" ] || mkdir "$flags" || fail "cannot make $flags"
number=0 repaired=
for tens in 0 1 2 3 4 5 6 7 8 9; do
    for ones in 0 1 2 3 4 5 6 7 8 9; do
        flag=$flags/$tens$ones
        if [ "$number" -lt "$count" ]; then
            [ -f "$flag" ] || { : > "$flag" && repaired=yes; } || fail "cannot write $flag"
        elif [ -e "$flag" ]; then
            rm -f "$flag" && repaired=yes || fail "cannot remove $flag"
        fi
        number=$((number + 1))
    done
done
[ -z "$repaired" ] || fsync_path "$flags"
[ "$now" = "$wanted" ] || point "$state/live" "$wanted"
reply switched
