# Stores the environment of a version, and looks whether systemd knows the unit as it has to be: BASE SLOT UNIT VERSION
# DIGEST-OF-UNIT SIZE. No digest: the unit is somebody else's. Standard input: the environment, of SIZE bytes.
#
# Replies: `ready`; `unit missing`; `unit differs <path>` and behind `unit` its text; `unit stale`; `linger <user>`.
unit=$3 wanted=$4 unit_digest=$5 size=$6
umask 022
mkdir -p "$1/slots/$2" && place "$1" "$2" || fail "cannot write in $1"
lock "$slot/lock"
(umask 077 && cat > "$slot/env.new") || fail "cannot write in $slot"
if [ "$(wc -c < "$slot/env.new")" -ne "$size" ]; then
    rm -f "$slot/env.new"
    fail "the environment did not arrive whole"
fi
mv -f "$slot/env.new" "$slot/env-$wanted" && fsync_path "$slot/env-$wanted" || fail "cannot write in $slot"
recall || version=$wanted
for file in "$slot"/env-*; do
    # That of what was started last may be needed to start it again.
    [ "$file" = "$slot/env-$wanted" ] || [ "$file" = "$slot/env-$version" ] || rm -f "$file"
done
check_unit
reply ready
