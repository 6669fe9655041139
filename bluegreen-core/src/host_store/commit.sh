# Replaces a document by compare-and-swap. Standard input: the new document.
# Arguments: the directory; in it the document, its backup and its lock; the SHA-256 of the document that is expected to
# be there ("none": there is none), and that of the new one.
# Replies: `stored`; `lost` where there is a backup only, `conflict`, `damaged` where the input is not whole; `missing <tool>`,
# `locked`, and `no-locks <words>` where the file system has none.
#
# A deploy waits for this some 15 times, and most of that is the start of programs: so there are few.
set -eu
umask 077
directory=$1 document=./${2##*/} backup=./${3##*/} lock=./${4##*/} expected=$5 new=$6

for tool in flock sha256sum; do
    command -v "$tool" >/dev/null || reply "missing $tool"
done

# Network file systems lock files only. The directory itself is better: nobody can remove that under load.
lock_directory() {
    exec 9<.
    acquire "$lock_wait" && return
    while [ -n "$said" ]; do
        exec 9>>"$lock"
        acquire "$lock_wait" || break
        # A lock on a file that was removed since it was opened excludes nobody.
        # shellcheck disable=SC3013 # every shell in use has -ef
        [ -e /proc/self/fd/9 ] && ! [ "$lock" -ef /proc/self/fd/9 ] || return 0
        said=removed
    done
    [ -z "$said" ] || reply "no-locks $said"
    reply locked
}

refuse() {
    rm -f -- "$document.new"
    reply "$1"
}

# All input is here before the lock is taken, so that a slow sender holds up nobody. The dot keeps the last newline.
content=$(cat && echo .)
content=${content%.}

if [ ! -d "$directory" ]; then
    mkdir -p -- "$directory"
    fsync_path "$(dirname -- "$directory")"
fi
CDPATH='' cd -- "$directory"
lock_directory

printf %s "$content" >"$document.new"
if [ -e "$document" ]; then
    # In one go: <hash> <name> <hash> <name>.
    sums=$(sha256sum "$document.new" "$document")
    # shellcheck disable=SC2086 # no name has a space
    set -- $sums
    present=$3
elif [ -e "$backup" ]; then
    refuse lost
else
    sums=$(sha256sum "$document.new")
    present=none
fi
if [ "$present" != "$expected" ]; then
    refuse conflict
fi
if [ "${sums%% *}" != "$new" ]; then
    refuse damaged
fi
fsync_path "$document.new"
# After a commit that died between the two renames, both names are one file.
# shellcheck disable=SC3013 # every shell in use has -ef
if [ -e "$document" ] && ! [ "$document" -ef "$backup" ]; then
    # What is there becomes the backup, on the disk as it is; where files can have one name only, its copy does.
    if ! ln -f -- "$document" "$backup.new" 2>/dev/null; then
        cp -- "$document" "$backup.new"
        fsync_path "$backup.new"
    fi
    mv -f -- "$backup.new" "$backup"
fi
mv -f -- "$document.new" "$document"
fsync_path .
reply stored
