# Makes the places, the repository and the hook: BASE VERSION COMMIT. Standard input: the hook. With a version, says
# what is there of it, and refuses what would get lost.
#
# Replies: `changed <hook>` with the lines that differ behind `log`, `ready <base>` with the lines `version <commit>` and `received` where it is so; `missing <tool>`,
# `hook <path>`, `closed <directory of the web root>`, `taken <web root>`, `kept <path>` (of another takeover),
# or `dirty <version>` with the files behind `log`.
for tool in git flock; do
    command -v "$tool" > /dev/null || reply "missing $tool"
done
umask 022
mkdir -p "$1" && place "$1" || fail "cannot make $1"
mkdir -p "$base/releases" "$base/stopped" || fail "cannot write in $base"
(umask 077 && mkdir -p "$base/versions" "$base/ready" "$base/index") || fail "cannot write in $base"
lock "$base/lock"

# Git's own lock files stay behind when it is killed, so it writes only what is not so yet.
is_set() {
    [ "$(repo config "$1" 2> /dev/null)" = "$2" ] || repo config "$1" "$2"
}
if ! repo rev-parse -q --git-dir > /dev/null 2>&1 || [ "$(repo config core.bare)" != true ]; then
    rm -f "$repository/config.lock" "$repository/HEAD.lock"
    (umask 077 && git init -q --bare --template= "$repository") || fail "cannot make $repository"
fi
rm -f "$repository/config.lock"
is_set core.hooksPath "$repository/hooks" && is_set receive.denyNonFastForwards "$deny_force" &&
    mkdir -p "$repository/hooks" || fail "cannot write in $repository"
if [ "$(repo symbolic-ref -q HEAD)" != "refs/heads/$branch" ]; then
    unlock "$repository/HEAD"
    repo symbolic-ref HEAD "refs/heads/$branch" || fail "cannot write in $repository"
fi
ours='# Written by bluegreen-ssh'
if [ -s "$hook" ] && ! grep -qF "$ours" "$hook"; then
    [ -n "$take_over" ] || reply "hook $hook"
    mv "$hook" "$hook.before-bluegreen" || fail "cannot rename $hook"
fi
(umask 077 && cat > "$hook.new") && [ "$(tail -n 1 "$hook.new")" = '# end' ] || fail "the hook did not arrive whole"
refuse_changed "$hook.new"
if is_same "$hook.new" "$hook" && is_same "$hook" "$hook.written" && [ -x "$hook" ]; then
    rm -f "$hook.new"
else
    chmod 700 "$hook.new" && replace "$hook"
fi

[ -w "${web%/*}/" ] || reply "closed ${web%/*}/"
look
! is_taken || reply "taken $web"
! is_foreign || can_keep || reply "kept $kept"

[ -n "$2" ] || reply "ready $base"
if [ -z "$force" ] && [ -n "$served" ] && [ -f "$base/ready/$served" ] && [ "$state" != gone ]; then
    dirty=$(changes "$served" | grep -vxF -f "$base/ready/$served")
    [ -z "$dirty" ] || reply "dirty $served" log "$dirty"
fi
set -- "$2" "$3"
[ ! -f "$base/versions/$1" ] || known=$(cat "$base/versions/$1")
unlock "$repository/refs/bluegreen/$2"
! repo rev-parse -q --verify "refs/bluegreen/$2" > /dev/null || received=yes
reply "ready $base" ${known:+"version $known"} ${received:+received}
