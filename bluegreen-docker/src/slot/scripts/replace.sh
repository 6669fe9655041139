# Replaces a file of the state directory, if it still is what it was when it was read: DIRECTORY NAME EXPECTED NEW. EXPECTED is the
# digest of what was read, empty when there was no file; NEW that of the new content, which comes on standard input.
#
# Replies: `replaced`, or `changed`.
file=$1/$2
# shellcheck disable=SC2174 # only the last directory is ours
[ -d "$1" ] || mkdir -p -m 700 -- "$1" || exit 1
umask 077
lock "$file.lock"
[ "$(digest_of "$file")" = "$3" ] || reply changed
receive "$file.new" "$4"
mv -f -- "$file.new" "$file" || exit 1
fsync_path "$1"
reply replaced
