# Replaces a document by compare-and-swap. Standard input: the new document.
# Arguments: the directory; in it the document, its backup and its lock; the SHA-256 of the document that is expected to
# be there ("none": there is none), and that of the new one.
# Exit status: 41 there is a backup only, 42 conflict, 43 a tool is missing, 44 locked, 45 the input is not whole, 46 the
# file system has no locks.
#
# A deploy waits for this some 15 times, and most of that is the start of programs: so there are few.
set -eu
LC_ALL=C
export LC_ALL
umask 077
directory=$1 document=./${2##*/} backup=./${3##*/} lock=./${4##*/} expected=$5 new=$6

for tool in flock sha256sum; do
    if ! command -v "$tool" >/dev/null 2>&1; then
        echo "$tool"
        exit 43
    fi
done

# Where sync takes no file, it syncs everything.
settle() {
    sync -- "$1" 2>/dev/null || sync
}

refuse() {
    rm -f -- "$document.new"
    exit "$1"
}

# All input is here before the lock is taken, so that a slow sender holds up nobody. The dot keeps the last newline.
content=$(cat && echo .)
content=${content%.}

if [ ! -d "$directory" ]; then
    mkdir -p -- "$directory"
    settle "$(dirname -- "$directory")"
fi
CDPATH='' cd -- "$directory"
# The directory itself is locked: nobody can remove that under load. Network file systems lock files only.
exec 9<.
held=.
tries=100
while :; do
    if said=$(flock -n 9 2>&1); then
        # A lock on a file that was removed since it was opened excludes nobody.
        # shellcheck disable=SC3013 # every shell in use has -ef
        if [ "$held" = . ] || [ ! -e /proc/self/fd/9 ] || [ "$held" -ef /proc/self/fd/9 ]; then
            break
        fi
        exec 9>>"$held"
    elif [ -n "$said" ] && [ "$held" = . ]; then
        held=$lock
        exec 9>>"$held"
        continue
    elif [ -n "$said" ]; then
        echo "$said" >&2
        exit 46
    fi
    tries=$((tries - 1))
    if [ "$tries" -eq 0 ]; then
        exit 44
    fi
    sleep 0.1
done

printf %s "$content" >"$document.new"
if [ -e "$document" ]; then
    # In one go: <hash> <name> <hash> <name>.
    sums=$(sha256sum "$document.new" "$document")
    # shellcheck disable=SC2086 # no name has a space
    set -- $sums
    present=$3
elif [ -e "$backup" ]; then
    refuse 41
else
    sums=$(sha256sum "$document.new")
    present=none
fi
if [ "$present" != "$expected" ]; then
    refuse 42
fi
if [ "${sums%% *}" != "$new" ]; then
    refuse 45
fi
settle "$document.new"
# After a commit that died between the two renames, both names are one file.
# shellcheck disable=SC3013 # every shell in use has -ef
if [ -e "$document" ] && ! [ "$document" -ef "$backup" ]; then
    # What is there becomes the backup, on the disk as it is; where files can have one name only, its copy does.
    if ! ln -f -- "$document" "$backup.new" 2>/dev/null; then
        cp -- "$document" "$backup.new"
        settle "$backup.new"
    fi
    mv -f -- "$backup.new" "$backup"
fi
mv -f -- "$document.new" "$document"
settle .
