# Finds the places of the server's directory. Also where it is missing, there may be a web root.
place() {
    found=$(CDPATH= cd -- "$1" 2> /dev/null && pwd -P)
    base=${found:-$1}
    repository=$base/repository.git
    hook=$repository/hooks/post-receive
    web=${web_root:-$base/current}
    kept=$web.before-bluegreen
    [ -n "$found" ]
}

# Git on the server's repository.
repo() {
    git --git-dir="$repository" "$@"
}

# Replies `changed <hook>`, with the lines behind `log`, where others have changed the hook, unless that is to be overwritten:
# the file of the hook that is to be. What no shell can read is repaired.
refuse_changed() {
    if [ -z "$force" ] && is_changed "$hook" && sh -n "$hook" 2> /dev/null && ! is_same "$1" "$hook"; then
        rm -f "$hook.new"
        reply "changed $hook" log "$(difference "$hook")"
    fi
}

# Removes a lock file of git that a kill has left: nobody holds one for so long.
unlock() {
    [ ! -e "$1.lock" ] || sleep 0.5
    [ ! -e "$1.lock" ] || sleep 0.5
    rm -f "$1.lock"
}

# Moves or removes a ref, as `git update-ref` does: REF, the commit or nothing, and what it must be now.
move_ref() {
    unlock "$repository/$1"
    if [ -n "$2" ]; then
        repo update-ref "$@"
    else
        unlock "$repository/packed-refs"
        ref_gone=$1
        shift 2
        repo update-ref -d "$ref_gone" "$@"
    fi
}

# Git on the files of one version, with the index that was made when it was checked out. Only the holder of our lock
# comes here, so a lock of git is of someone who was killed.
files_of() {
    GIT_INDEX_FILE=$base/index/$1/index GIT_WORK_TREE=$base/releases/$1
    export GIT_INDEX_FILE GIT_WORK_TREE
    rm -f "$GIT_INDEX_FILE.lock"
    shift
    repo "$@"
}

# The tracked files of a version that are not as they were committed.
changes() (
    files_of "$1" update-index -q --refresh > /dev/null 2>&1
    files_of "$1" diff-files --name-only
)

# What the web root says: `state` is absent, empty, running, stopped, gone, elsewhere (another's link) or directory
# (another's, or a file); `served` is the version.
look() {
    state=absent served= target=
    if [ ! -L "$web" ]; then
        [ -e "$web" ] || return
        state=directory
        names=$(ls -A -- "$web" 2> /dev/null) && [ -z "$names" ] && state=empty
        return
    fi
    target=$(readlink "$web")
    case $target in
    "$base/releases/"*) state=running ;;
    "$base/stopped/"*) state=stopped ;;
    *) state=elsewhere && return ;;
    esac
    served=${target##*/}
    [ "$served" != "$unknown" ] || served=
    [ "$state" = stopped ] || [ -d "$target" ] || state=gone
}

# Instead of the version of what was not made by a deploy. No version has such a name.
unknown=.unknown

# Whether what is at the web root was not made by a deploy.
is_foreign() {
    [ "$state" = directory ] || [ "$state" = elsewhere ]
}

# Whether that must stay.
is_taken() {
    is_foreign && [ -z "$take_over" ]
}

# Points the web root to a directory in one step. `ln -sf` is two steps in some systems.
point() {
    rm -f "$web.new" && ln -s "$1" "$web.new" || return 1
    if ! move_aside; then
        rm -f "$web.new"
        return 1
    fi
    if ! mv -fT "$web.new" "$web"; then
        ! is_aside || move_back
        return 1
    fi
    fsync_path "${web%/*}/"
}

# Keeps beside what is at the web root and not ours, in the moment before ours takes its place. A link can be replaced in
# one step; a directory cannot, so that there is no web root between two renames. As long as `aside` is there, the change
# is not done, and may be undone.
move_aside() {
    look
    case $state in
    empty)
        rmdir "$web"
        return
        ;;
    directory | elsewhere) ;;
    *) return 0 ;;
    esac
    echo "$web was not made by a deploy" >&2
    ! is_taken || return 1
    if ! can_keep; then
        echo "and cannot be kept beside: $kept is there already" >&2
        return 1
    fi
    echo "it is kept as $kept" >&2
    echo "$kept" | put "$base/aside" || return 1
    if [ -n "$target" ]; then
        [ -L "$kept" ] || ln -s "$target" "$kept"
    else
        mv -T "$web" "$kept"
    fi && return
    rm -f "$base/aside"
    return 1
}

# Whether the name for it is free, or is there for the same link since an attempt that was cut off.
can_keep() {
    [ -e "$kept" ] || [ -L "$kept" ] || return 0
    [ -n "$target" ] && [ "$(readlink "$kept")" = "$target" ]
}

# Whether something was moved aside by a change that is not done.
is_aside() {
    [ -e "$base/aside" ] && { [ -e "$kept" ] || [ -L "$kept" ]; }
}

# Puts it back.
move_back() {
    [ -L "$kept" ] || rm -f "$web"
    mv -fT "$kept" "$web" && rm -f "$base/aside" && fsync_path "${web%/*}/"
}

# Keeps the commit of a version: VERSION COMMIT. What a cut-off leaves must not look like a version.
record() {
    printf '%s\n' "$2" | put "$base/record"
    mv -f "$base/record" "$base/versions/$1" && fsync_path "$base/versions" || fail "cannot write in $base/versions"
}

# The number of the next change.
turn() {
    cat "$base/turn" 2> /dev/null || echo 0
}

# Takes the lock, and the turn that was asked for before. A script may come late, when its caller was cut off and others
# have changed the slot since: its turn is over then.
take_turn() {
    lock "$base/lock"
    given=$(turn)
    [ "${1:-$given}" = "$given" ] || reply late
    echo $((given + 1)) | put "$base/turn"
}

# A shell command of the service, in a directory, without our lock and our language.
run() {
    printf '+ %s\n' "$2"
    (cd "$1" && unset LC_ALL && SLOT=$slot VERSION=$version COMMIT=$commit sh -c "$2") < /dev/null 9>&-
    status=$?
    [ "$status" -eq 0 ] || printf 'exit status %s: %s\n' "$status" "$2"
    return "$status"
}

# In a hook, or under another git, they name another repository.
# shellcheck disable=SC2046 # split into words on purpose
unset $(git rev-parse --local-env-vars 2> /dev/null)
