# Finds the places of the server's directory.
place() {
    base=$(CDPATH= cd -- "$1" 2> /dev/null && pwd -P) || return 1
    repository=$base/repository.git
    web=${web_root:-$base/current}
}

# Git on the server's repository.
repo() {
    git --git-dir="$repository" "$@"
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

# What the web root says: `state` is absent, running, stopped, gone, elsewhere (another's link) or directory; `served`
# is the version.
look() {
    state=absent served= target=
    if [ ! -L "$web" ]; then
        [ ! -e "$web" ] || state=directory
        return
    fi
    target=$(readlink "$web")
    case $target in
    "$base/releases/"*) state=running ;;
    "$base/stopped/"*) state=stopped ;;
    *) state=elsewhere && return ;;
    esac
    served=${target##*/}
    [ "$state" = stopped ] || [ -d "$target" ] || state=gone
}

# Points the web root to a directory in one step. `ln -sf` is two steps in some systems.
point() {
    rm -f "$web.new" && ln -s "$1" "$web.new" && mv -fT "$web.new" "$web" || return 1
    settle "${web%/*}/"
}

# Keeps the commit of a version: VERSION COMMIT. What a cut-off leaves must not look like a version.
record() {
    printf '%s\n' "$2" | put "$base/record"
    mv -f "$base/record" "$base/versions/$1" && settle "$base/versions" || fail "cannot write in $base/versions"
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
unset $(git rev-parse --local-env-vars 2> /dev/null)
