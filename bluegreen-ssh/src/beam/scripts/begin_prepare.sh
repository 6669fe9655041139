# Makes the places, and stores cookie and environment: BASE SLOT VERSION SIZE. Standard input: the cookie on a line
# (empty: the one that is there, or a new one), then the environment file, of SIZE bytes.
#
# Replies: `absent`, `present <content>`, `foreign` when the release was put there by
# someone else, `missing <tool>`, or those of `refuse_changed`.
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
refuse_changed "$slot/env.new"
keep_environment "$3"
if is_same "$slot/env.new" "$slot/env" && is_same "$slot/env" "$slot/env.written"; then
    rm -f "$slot/env.new"
else
    replace "$slot/env"
fi
[ -n "$cookie" ] || [ -s "$base/cookie" ] || cookie=$(od -An -v -N32 -tx1 /dev/urandom | tr -d ' \n')
if [ -n "$cookie" ] && [ "$(cat "$base/cookie" 2> /dev/null)" != "$cookie" ]; then
    (umask 077 && printf '%s' "$cookie" > "$base/cookie.new") || fail "cannot write $base/cookie.new"
    replace "$base/cookie"
fi

[ -e "$base/releases/$3" ] || reply absent "incoming $base/incoming"
[ -f "$base/releases/$3/.sha256" ] || reply foreign
rm -f "$base/incoming/$3.tar.gz"
read -r content < "$base/releases/$3/.sha256" || fail "cannot read $base/releases/$3/.sha256"
reply "present $content"
