# Ends an installation that nginx has taken, one that it has not, or one that it has taken and does not show.
# STATE SITE taken|refused|withdrawn
state=$1 site=$2 how=$3
directory=${site%/*} name=${site##*/}
previous=$directory/.$name.previous
lock_state "$state"
[ -e "$previous" ] || reply ended
if [ "$how" = taken ]; then
    rm -f "$previous"
elif [ -s "$previous" ]; then
    mv -f "$previous" "$site"
else
    rm -f "$site" "$previous"
fi
fsync_path "$directory"
[ "$how" != withdrawn ] || reload_old
reply ended
