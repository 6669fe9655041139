# Ends an installation that nginx has taken, or one that it has not. STATE SITE taken|refused
state=$1 site=$2 how=$3
directory=${site%/*} name=${site##*/}
previous=$directory/.$name.previous
lock "$state"
[ -e "$previous" ] || reply ended
if [ "$how" = taken ]; then
    rm -f "$previous"
elif [ -s "$previous" ]; then
    mv -f "$previous" "$site"
else
    rm -f "$site" "$previous"
fi
settle "$directory"
reply ended
