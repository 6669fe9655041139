# Sends the file $1.
#
# Says `size <bytes>`, with its digest behind when the size is $2, and ends then unless it is told to go on; sends the
# bytes, and then a line `<digest>`. Exit status 44 when there is no such file.
if [ ! -e "$1" ]; then
    echo "No such file or directory" >&2
    exit 44
fi
if [ ! -f "$1" ]; then
    echo "$1 is not a file" >&2
    exit 1
fi
size=$(wc -c < "$1") || exit 1
size=$((size))
if [ "$size" = "$2" ]; then
    sum=$(digest < "$1") || exit 1
    echo "size $size $sum"
    read -r answer
    [ "$answer" = send ] || exit 0
else
    echo "size $size"
fi
head -c "$size" < "$1" || exit 1
digest < "$1" || exit 1
