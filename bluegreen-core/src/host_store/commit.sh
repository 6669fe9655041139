# Replaces a document by compare-and-swap. Standard input: the new document.
# Arguments: the directory; the document, its backup and its lock; the SHA-256 of the document that is expected to be
# there ("none": there is none), and that of the new one.
# Exit status: 41 there is a backup only, 42 conflict, 43 a tool is missing, 44 locked, 45 the input is not whole.
set -eu
LC_ALL=C
export LC_ALL
umask 077
directory=$1 document=$2 backup=$3 lock=$4 expected=$5 new=$6

for tool in flock sha256sum; do
    if ! command -v "$tool" >/dev/null 2>&1; then
        echo "$tool"
        exit 43
    fi
done

hash_of() {
    sha256sum <"$1" | cut -c 1-64
}

# Where sync takes no file, it syncs everything.
settle() {
    sync -- "$1" 2>/dev/null || sync
}

# All input is here before the lock is taken, so that a slow sender holds up nobody. The dot keeps the last newline.
content=$(cat && echo .)
content=${content%.}

if [ ! -d "$directory" ]; then
    mkdir -p -- "$directory"
    settle "$(dirname -- "$directory")"
fi
exec 9>>"$lock"
tries=100
while ! flock -n 9; do
    tries=$((tries - 1))
    if [ "$tries" -eq 0 ]; then
        exit 44
    fi
    sleep 0.1
done

if [ -e "$document" ]; then
    present=$(hash_of "$document")
elif [ -e "$backup" ]; then
    exit 41
else
    present=none
fi
if [ "$present" != "$expected" ]; then
    exit 42
fi

rm -f -- "$document.new" "$backup.new"
printf %s "$content" >"$document.new"
if [ "$(hash_of "$document.new")" != "$new" ]; then
    rm -f -- "$document.new"
    exit 45
fi
settle "$document.new"
if [ -e "$document" ]; then
    cp -- "$document" "$backup.new"
    settle "$backup.new"
    mv -f -- "$backup.new" "$backup"
fi
mv -f -- "$document.new" "$document"
settle "$directory"
