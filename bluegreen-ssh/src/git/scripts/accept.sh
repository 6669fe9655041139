# Takes a commit that was pushed as a version: BASE VERSION COMMIT.
#
# Replies: `ready`, `present <commit>`, `missing`, or `diverged <commit> <count>`: so many commits would get lost.
place "$1" || fail "$1 is gone"
version=$2 commit=$3
lock "$base/lock"
if [ -f "$base/versions/$version" ]; then
    known=$(cat "$base/versions/$version")
    [ "$known" = "$commit" ] || reply "present $known"
fi
repo cat-file -e "$commit^{commit}" 2> /dev/null || reply missing
tip=$(repo rev-parse -q --verify "refs/heads/$branch")
if [ -z "$force" ] && [ -n "$tip" ] && ! repo merge-base --is-ancestor "$tip" "$commit" &&
    ! repo merge-base --is-ancestor "$commit" "$tip"; then
    count=$(repo rev-list --count "$commit..$tip")
    grep -qsxF "$commit" "$base"/versions/* || move_ref "refs/bluegreen/$commit" ""
    reply "diverged $tip $count"
fi
record "$version" "$commit"
prune
reply ready
