# Makes the places, and says what is there: BASE VERSION.
#
# Replies: `present <digest>`, `foreign` when the version's directory was put there by someone else, `missing <tool>`; or
# `absent`, `incoming <directory>`, `free <kilobytes>`, and, where a release is there whose files can be taken, `base
# <version>`, `shared <path>` for each path that it shares, and its manifest behind `manifest`.
version=$2
for tool in flock tar gzip awk sha256sum; do
    command -v "$tool" > /dev/null || reply "missing $tool"
done
umask 022
mkdir -p "$1/releases" && base=$(CDPATH= cd -- "$1" && pwd -P) || fail "cannot write in $1"
(umask 077 && mkdir -p "$base/incoming" "$base/manifests") || fail "cannot write in $base"
lock "$base/lock"

# What an unpacking that was cut off has left.
rm -rf "$base/releases"/.unpack-* "$base/releases"/.gone-*

if [ -e "$base/releases/$version" ]; then
    [ -f "$base/manifests/$version.sha256" ] || reply foreign
    reply "present $(cat "$base/manifests/$version.sha256")"
fi
printf '%s\n' absent "incoming $base/incoming" "free $(df -Pk "$base" | awk 'NR == 2 { print $4 }')"
# The newest one shares the most.
# shellcheck disable=SC2012 # versions have no blanks
for digest in $(cd "$base/manifests" && ls -1t -- *.sha256 2> /dev/null); do
    from=${digest%.sha256}
    [ -d "$base/releases/$from" ] && [ -f "$base/manifests/$from.shared" ] || continue
    echo "base $from"
    sed 's/^/shared /' "$base/manifests/$from.shared"
    echo manifest
    cat "$base/manifests/$from"
    break
done
