# Replaces a file of the state directory, if it still is what it was when it was read.
#
# $1  the state directory
# $2  the file's name
# $3  the digest of what was read; empty when there was no file
# $4  the digest of the new content, which comes on standard input
#
# Exits with 3 when the file has changed, 75 when another one holds the lock for a minute.
# shellcheck disable=SC2174 # only the last directory is ours
[ -d "$1" ] || mkdir -p -m 700 -- "$1" || exit 1
# shellcheck disable=SC2016 # the inner shell expands it
exec flock -E 75 -w 60 "$1/$2.lock" sh -c '
umask 077
cd -- "$1" || exit 1
digest() { sha256sum < "$1" | cut -d " " -f 1; }
now=
[ ! -e "$2" ] || now=$(digest "$2") || exit 1
[ "$now" = "$3" ] || exit 3
cat > "$2.new" || exit 1
# Of a connection that is lost, the end is missing.
[ "$(digest "$2.new")" = "$4" ] || { echo "the new content has not arrived whole" >&2; exit 1; }
{ sync "$2.new" 2> /dev/null || sync; } && mv -f -- "$2.new" "$2" || exit 1
sync . 2> /dev/null || sync
' sh "$@"
