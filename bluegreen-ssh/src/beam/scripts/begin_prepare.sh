# Makes the places, and stores cookie and environment: BASE SLOT VERSION SIZE. Standard input: the cookie on a line
# (empty: the one that is there, or a new one), then the environment file, of SIZE bytes.
#
# Replies: `absent`, `present <content>`, `foreign` when the release was put there by
# someone else, or `missing <tool>`.
size=$4
for tool in flock tar gzip; do
    command -v "$tool" > /dev/null || reply "missing $tool"
done
umask 022
mkdir -p "$1" && place "$1" "$2" || fail "cannot make $1"
mkdir -p "$base/releases" || fail "cannot write in $base"
(umask 077 && mkdir -p "$base/incoming" "$slot/tmp" "$slot/home") || fail "cannot write in $base"
chmod 700 "$base/slots" "$base/incoming"
lock "$base/lock"

# What an unpacking that was cut off has left. What lies in `incoming` is left alone here: this may be the rest of a prepare
# that was cut off itself, and is overtaken by the next one and its upload.
rm -rf "$base/releases"/.unpack-* "$base/releases"/.gone-*

IFS= read -r cookie || fail "the input is not whole"
(umask 077 && cat > "$slot/env.new") || fail "cannot write $slot/env.new"
if [ "$(wc -c < "$slot/env.new")" -ne "$size" ]; then
    rm -f "$slot/env.new"
    fail "the environment did not arrive whole"
fi
if [ -f "$slot/env" ] && cmp -s "$slot/env.new" "$slot/env"; then
    rm -f "$slot/env.new"
else
    settle "$slot/env.new" && mv -f "$slot/env.new" "$slot/env" || fail "cannot write $slot/env"
fi
if [ -n "$cookie" ]; then
    [ "$(cat "$base/cookie" 2> /dev/null)" = "$cookie" ] || printf '%s' "$cookie" | put "$base/cookie"
elif [ ! -s "$base/cookie" ]; then
    od -An -v -N32 -tx1 /dev/urandom | tr -d ' \n' | put "$base/cookie"
fi

[ -e "$base/releases/$3" ] || reply absent "incoming $base/incoming"
[ -f "$base/releases/$3/.sha256" ] || reply foreign
rm -f "$base/incoming/$3.tar.gz"
read -r content < "$base/releases/$3/.sha256" || fail "cannot read $base/releases/$3/.sha256"
reply "present $content"
