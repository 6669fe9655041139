# Links the hashed files of all releases into `assets`, and removes from it what no release has: BASE ASSETS. ASSETS is the directory
# in the releases. A name stands for one content: one that two releases have with different contents is left out.
base=$(CDPATH= cd -- "$1" && pwd -P) || fail "$1 is gone"
assets=$2
lock "$base/lock"
wanted=$base/manifests/.assets
trap 'rm -f "$wanted"' EXIT
tab=$(printf '\t')
for digest in "$base"/manifests/*.sha256; do
    from=${digest##*/}
    from=${from%.sha256}
    [ -d "$base/releases/$from" ] && sed "s|^|$from$tab|" "$base/manifests/$from"
done | prefix=$assets/ awk -F'\t' -v OFS='\t' '
    # At least eight characters, among them a digit, or a capital behind a small letter.
    function is_hash(text) {
        return length(text) >= 8 && text ~ /^[A-Za-z0-9_-]*$/ && (text ~ /[0-9]/ || text ~ /[a-z][A-Z]/)
    }
    # Whether a hash stands behind a dash or a dot, in front of the ending.
    function is_hashed(name,   parts, count, i, dash) {
        count = split(name, parts, ".")
        for (i = 1; i < count; i++) {
            if (i > 1 && is_hash(parts[i])) return 1
            while ((dash = index(parts[i], "-")) > 0) {
                parts[i] = substr(parts[i], dash + 1)
                if (is_hash(parts[i])) return 1
            }
        }
        return 0
    }
    $2 == "f" && index($NF, ENVIRON["prefix"]) == 1 {
        path = substr($NF, length(ENVIRON["prefix"]) + 1)
        name = path
        sub(/.*\//, "", name)
        if (name ~ /^\./ || tolower(name) ~ /manifest/ || !is_hashed(name)) next
        if (path in content && content[path] != $4) differs[path] = 1
        content[path] = $4
        release[path] = $1
    }
    END { for (path in content) if (!(path in differs)) print release[path], path }
' > "$wanted" || fail "cannot write in $base/manifests"

umask 022
mkdir -p "$base/assets" || fail "cannot write in $base"
while IFS=$tab read -r from path; do
    file=$base/releases/$from/$assets/$path
    # shellcheck disable=SC3013 # dash and busybox have it
    [ "$file" -ef "$base/assets/$path" ] && continue
    case $path in */*) mkdir -p "$base/assets/${path%/*}" || fail "cannot write in $base/assets" ;; esac
    # Renamed into place, because it can be asked for at any moment.
    ln -f "$file" "$base/assets/.new" && mv -f "$base/assets/.new" "$base/assets/$path" || fail "cannot link $file"
done < "$wanted"
cd "$base/assets" || fail "cannot enter $base/assets"
{
    sed "s|^|wanted$tab|" "$wanted"
    find . -type f | sed "s|^\./|found$tab|"
} | awk -F'\t' '$1 == "wanted" { wanted[$3] = 1; next } !($2 in wanted) { print $2 }' |
    tr '\n' '\0' | xargs -0 rm -f -- || fail "cannot remove what no release has from $base/assets"
find . -mindepth 1 -depth -type d -exec rmdir {} + 2> /dev/null || :
reply ready
