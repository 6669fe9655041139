# Unpacks what was uploaded, aside and then in place: BASE SLOT VERSION CONTENT KEEP.
#
# Replies: `ready`, `present <content>` when someone else was faster, or `damaged` with tar's words on standard error.
version=$3 content=$4 keep=$5
place "$1" "$2" || fail "$1 is gone"
lock "$base/lock"
archive=$base/incoming/$version.tar.gz
release=$base/releases/$version
# What uploads that were cut off have left.
for file in "$base/incoming"/* "$base/incoming"/.[!.]*; do
    [ "$file" = "$archive" ] || rm -f "$file"
done
if [ -e "$release" ]; then
    rm -f "$archive"
    reply "present $(cat "$release/.sha256" 2> /dev/null)"
fi
aside=$base/releases/.unpack-$version
rm -rf "$aside"
umask 022
mkdir "$aside" || fail "cannot write in $base/releases"
trap 'rm -rf "$aside"' EXIT
trap 'exit 1' HUP INT TERM PIPE
tar -xzof "$archive" --no-same-permissions -C "$aside" >&2 || reply damaged
[ -x "$aside/bin/$app" ] || { echo "bin/$app is no program" >&2 && reply damaged; }
printf '%s\n' "$content" > "$aside/.sha256" || fail "cannot write in $aside"
sync -f "$aside" 2> /dev/null || sync
mv -T "$aside" "$release" || fail "cannot rename $aside"
fsync_path "$base/releases"
rm -f "$archive"

# The newest are kept, this one among them whatever the clock says, and what is on record for a slot, and what anything runs of.
kept=0
# shellcheck disable=SC2012 # the names in it are numbers and links
in_use=$(ls -l /proc/[0-9]*/exe 2> /dev/null | sed -n 's/.* -> //p' | grep -v '/epmd\( (deleted)\)\{0,1\}$')
for file in $(cd "$base/releases" && ls -1t -- */.sha256); do
    old=${file%/.sha256}
    kept=$((kept + 1))
    [ "$kept" -gt "$keep" ] || continue
    [ "$old" = "$version" ] && continue
    grep -qsxF "version $old" "$base"/slots/*/record && continue
    case $in_use in *"$base/releases/$old/"*) continue ;; esac
    mv -T "$base/releases/$old" "$base/releases/.gone-$old" && rm -rf "$base/releases/.gone-$old"
done
reply ready
