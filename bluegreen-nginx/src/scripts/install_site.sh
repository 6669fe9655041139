# Replaces a site's file, tests the configuration and reloads nginx. The new text comes on standard input.
# STATE SITE EXPECTED NEW LINK PID_FILE ERROR_LOG; EXPECTED and NEW are SHA-256 sums, an empty EXPECTED is no file. With
# a LINK, a site that the link does not point to is only stored: nginx does not read it.
state=$1 site=$2 expected=$3 new=$4 link=$5 pid_file=$6 error_log=$7
directory=${site%/*} name=${site##*/}
# nginx includes no dot files.
fresh=$directory/.$name.new
previous=$directory/.$name.previous

put_back() {
    if [ -s "$previous" ]; then mv -f "$previous" "$site"; else rm -f "$site" "$previous"; fi
    settle "$directory"
}

lock "$state"
[ ! -L "$site" ] || reply foreign
[ "$(digest_of "$site")" = "$expected" ] || reply changed
cat > "$fresh" && chmod 644 "$fresh" || fail "cannot write $fresh"
[ "$(digest_of "$fresh")" = "$new" ] || fail "the new text of $site arrived incomplete"
settle "$fresh"

if [ -n "$link" ] && [ "$(readlink -f "$link")" != "$(readlink -f "$site")" ]; then
    mv -f "$fresh" "$site" || fail "cannot replace $site"
    settle "$directory"
    reply stored
fi
# One that is still there is from an installation that was cut off: it is the last text that nginx is known to like.
if [ ! -e "$previous" ]; then
    if [ -e "$site" ]; then
        cp "$site" "$previous.new" && mv -f "$previous.new" "$previous" || fail "cannot keep a copy of $site"
    else
        : > "$previous" || fail "cannot write in $directory"
    fi
fi
mv -f "$fresh" "$site" || fail "cannot replace $site"
settle "$directory"
test_and_reload "$pid_file" "$error_log"
