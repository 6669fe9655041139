# Prints a document. Arguments: the document and its backup.
# Exit status: 40 there never was one, 41 there is a backup only.
document=$1 backup=$2
if [ -e "$document" ]; then
    exec cat -- "$document"
fi
if [ -e "$backup" ]; then
    exit 41
fi
# What lies in a directory that cannot be looked into seems not to exist.
directory=$(dirname -- "$document")
while [ ! -e "$directory" ]; do
    directory=$(dirname -- "$directory")
done
if [ ! -x "$directory" ]; then
    echo "cannot look into $directory: permission denied" >&2
    exit 1
fi
exit 40
