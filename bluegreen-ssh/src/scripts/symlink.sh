# Makes $3, in the directory $1, a link to $2.
temporary=$(mktemp -d "$1/.link-XXXXXX") || exit 1
trap 'rm -rf -- "$temporary"' EXIT
trap 'exit 1' HUP INT TERM PIPE
ln -s -- "$2" "$temporary/link" && mv -fT -- "$temporary/link" "$3" || exit 1
sync "$1" 2> /dev/null || sync || exit 45
