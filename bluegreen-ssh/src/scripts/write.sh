# Replaces the file $2 in the directory $1 by standard input, of $4 bytes, with the mode $3.
temporary=$(mktemp "$1/.write-XXXXXX") || exit 1
trap 'rm -f -- "$temporary"' EXIT
trap 'exit 1' HUP INT TERM PIPE
cat > "$temporary" || exit 1
size=$(wc -c < "$temporary")
# A connection that is cut looks like the end of the input.
if [ "$size" -ne "$4" ]; then
    echo "$size of $4 bytes arrived" >&2
    exit 1
fi
chmod "$3" "$temporary" && { sync "$temporary" 2> /dev/null || sync; } && mv -fT -- "$temporary" "$2" || exit 1
sync "$1" 2> /dev/null || sync || exit 45
