# Whether nginx could load a site's file: `valid`, `broken`, or `unclear` where it is another file that nginx minds. With a
# LINK that does not point there, it does for the time of the test. STATE SITE LINK
state=$1 site=$2 link=$3
lock_state "$state"
was=
if [ -n "$link" ] && [ "$(readlink -f "$link")" != "$(readlink -f "$site")" ]; then
    was=$(target_of "$link")
    [ "$was" != foreign ] || reply unclear
    put_back() {
        if [ -n "$was" ]; then point "$link" "$was"; else rm -f "$link"; fi
    }
    trap 'put_back; exit 1' HUP INT TERM
    point "$link" "$site"
else
    put_back() { :; }
fi
said=$(test_nginx 2>&1 9>&-)
fine=$?
put_back
[ "$fine" != 0 ] || reply valid
case $said in
*" in $site:"* | *" in ${link:-$site}:"*) reply broken ;;
esac
reply unclear
