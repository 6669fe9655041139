# Receives $3 bytes into the file $2 in the directory $1.
#
# Says `have <digest>` when a file of that size is there, and ends unless it is told to go on; says `send`, receives,
# says `got <digest>`, and moves the file into place when it is told `commit`. Whatever else it hears, also that the
# connection is gone, removes what was received.
if [ -d "$2" ]; then
    echo "$2 is a directory" >&2
    exit 1
fi
if [ -f "$2" ] && [ "$(wc -c < "$2")" -eq "$3" ]; then
    sum=$(digest < "$2") || exit 1
    echo "have $sum"
    read -r answer
    [ "$answer" = send ] || exit 0
fi
temporary=$(mktemp "$1/.upload-XXXXXX") || exit 1
trap 'rm -f -- "$temporary"' EXIT
trap 'exit 1' HUP INT TERM PIPE
echo send
head -c "$3" > "$temporary" || exit 1
size=$(wc -c < "$temporary")
if [ "$size" -ne "$3" ]; then
    echo "$size of $3 bytes arrived" >&2
    exit 1
fi
# The disk and the processor have their own part each.
{ sync "$temporary" || sync; } < /dev/null > /dev/null 2>&1 &
sum=$(digest < "$temporary") || exit 1
wait "$!" || exit 1
echo "got $sum"
read -r answer
[ "$answer" = commit ] || exit 1
mv -fT -- "$temporary" "$2" || exit 1
sync "$1" 2> /dev/null || sync || exit 45
