# Puts a release together aside, checks every file of it, and renames it into place: BASE VERSION DIGEST KEEP FROM
# MANIFEST-SIZE INPUT-SIZE SHARED... Standard input: the manifest, and behind it the archive, INPUT-SIZE bytes together; no INPUT-SIZE
# where the archive was uploaded before. FROM is the release whose files are taken where they are the same; empty for none. Each
# SHARED is a path in the release, with a slash at its end for a directory.
#
# Replies: `ready`, `present <digest>` when someone else was faster, or `damaged` with the reason on standard error.
version=$2 digest=$3 keep=$4 from=$5 manifest_size=$6 input_size=$7
base=$(CDPATH= cd -- "$1" && pwd -P) || fail "$1 is gone"
shift 7
lock "$base/lock"
archive=$base/incoming/$version.tar.gz
release=$base/releases/$version
aside=$base/releases/.unpack-$version
manifest=$base/manifests/.new-$version
# What uploads that were cut off have left.
for file in "$base/incoming"/* "$base/incoming"/.[!.]*; do
    [ "$file" = "$archive" ] || rm -f "$file"
done
if [ -e "$release" ]; then
    rm -f "$archive"
    reply "present $(cat "$base/manifests/$version.sha256" 2> /dev/null)"
fi
rm -rf "$aside"
umask 022
trap 'rm -rf "$aside" "$manifest" "$manifest.old" "$manifest.now" "$archive.all"' EXIT
trap 'exit 1' HUP INT TERM PIPE
if [ -n "$input_size" ]; then
    (umask 077 && cat > "$archive.all") || fail "cannot write in $base/incoming"
    [ "$(wc -c < "$archive.all")" -eq "$input_size" ] || fail "the release did not arrive whole"
    (umask 077 && head -c "$manifest_size" "$archive.all" > "$manifest" && tail -c "+$((manifest_size + 1))" "$archive.all" > "$archive") ||
        fail "cannot write in $base"
    rm -f "$archive.all"
else
    (umask 077 && cat > "$manifest") || fail "cannot write in $base/manifests"
fi
[ "$(sha256sum < "$manifest" | cut -d' ' -f1)" = "$digest" ] || fail "the manifest did not arrive whole"

damaged() {
    printf '%s\n' "$*" >&2
    reply damaged
}

# The files of the base are linked, so they cost no room, and those that differ are unpacked in place of their names.
if [ -n "$from" ]; then
    cp -al "$base/releases/$from" "$aside" 2> /dev/null || damaged "cannot link the files of $from"
    sort "$base/manifests/$from" > "$manifest.old"
    sort "$manifest" > "$manifest.now"
    # What differs in the base, its links to shared paths, and directories that are no more, the deepest first.
    comm -23 "$manifest.old" "$manifest.now" | awk -F'\t' '$1 != "d" { print $NF }' |
        tr '\n' '\0' | (cd "$aside" && xargs -0 rm -f --) || damaged "cannot make room for what differs from $from"
    while read -r path; do
        rm -f "$aside/$path"
        # Nothing but the link may have been in the directories above it.
        while [ "$path" != "${path%/*}" ]; do
            path=${path%/*}
            rmdir "$aside/$path" 2> /dev/null || break
        done
    done < "$base/manifests/$from.shared"
    awk -F'\t' 'NR == FNR { if ($1 == "d") is[$NF] = 1; next } $1 == "d" && !is[$NF] { print $NF }' \
        "$manifest" "$manifest.old" | sort -r | tr '\n' '\0' | (cd "$aside" && xargs -0 rmdir -- 2> /dev/null) || :
else
    mkdir "$aside" || fail "cannot write in $base/releases"
fi
tar -xzpof "$archive" -C "$aside" >&2 || damaged "tar cannot unpack it; is the disk full? df tells"
awk -F'\t' '$1 == "f" { print $3 "  " $5 }' "$manifest" | (cd "$aside" && sha256sum -c > /dev/null 2>&1) ||
    damaged "a file is not what was sent"
[ "$(cd "$aside" && find . ! -name . | wc -l)" -eq "$(wc -l < "$manifest")" ] || damaged "there is a file too many or too few"

# What a release brings at a shared path is what it begins with.
for shared in "$@"; do
    path=${shared%/}
    kept=$base/shared/$path
    mkdir -p "${kept%/*}" || fail "cannot write in $base/shared"
    if [ ! -e "$kept" ] && [ -e "$aside/$path" ]; then
        cp -a "$aside/$path" "$kept.new" && mv -T "$kept.new" "$kept" || fail "cannot write $kept"
    elif [ "$path" != "$shared" ]; then
        mkdir -p "$kept" || fail "cannot make $kept"
    fi
    rm -rf "${aside:?}/$path"
    case $path in */*) mkdir -p "$aside/${path%/*}" || fail "cannot write in $aside" ;; esac
    ln -s "$kept" "$aside/$path" || fail "cannot link $path"
done

sync -f "$aside" 2> /dev/null || sync
for shared in "$@"; do echo "${shared%/}"; done > "$base/manifests/$version.shared"
mv -f "$manifest" "$base/manifests/$version" && echo "$digest" | put "$base/manifests/$version.sha256"
mv -T "$aside" "$release" || fail "cannot rename $aside"
fsync_path "$base/releases"
rm -f "$archive"

# The newest are kept, this one among them whatever the clock says, and what is on record for a slot, and what anything runs of.
kept=0
# shellcheck disable=SC2012 # versions have no blanks
in_use=$(ls -l /proc/[0-9]*/exe /proc/[0-9]*/cwd 2> /dev/null | sed -n 's/.* -> \(.*\)/\1\//p')
for file in $(cd "$base/manifests" && ls -1t -- *.sha256); do
    old=${file%.sha256}
    kept=$((kept + 1))
    [ "$kept" -gt "$keep" ] || continue
    [ "$old" = "$version" ] && continue
    grep -qsxF "version $old" "$base"/slots/*/record && continue
    case $in_use in *"$base/releases/$old/"*) continue ;; esac
    if [ -e "$base/releases/$old" ]; then
        mv -T "$base/releases/$old" "$base/releases/.gone-$old" || continue
        rm -rf "$base/releases/.gone-$old"
    fi
    rm -f "$base/manifests/$old" "$base/manifests/$old.shared" "$base/manifests/$file"
done
reply ready
