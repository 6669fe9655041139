# Finds a release's commit in the repository on this machine: REPOSITORY VERSION REVISION UNFILTERED. Without a revision, the version
# names it: a tag (also with a v before it), a branch, or a commit.
#
# Replies: `commit <id>`, `repository`, `missing` with a line `tags <names>`, `submodule <path>`, or `filter <name> <path>`
# when files have that filter, and its name is not one of the words in UNFILTERED.
command -v git > /dev/null || reply "git"
cd -- "$1" 2> /dev/null || reply "repository there is no such directory"
# shellcheck disable=SC2046 # split into words on purpose
unset $(git rev-parse --local-env-vars)
said=$(git rev-parse --git-dir 2>&1) || reply "repository $said"

resolve() {
    # A range is none, and printed all the same.
    commit=$(git rev-parse --verify --quiet --end-of-options "$1^{commit}" 2> /dev/null) && return
    commit=
    return 1
}

if [ -n "$3" ]; then
    resolve "$3"
else
    resolve "refs/tags/$2" || resolve "refs/tags/v$2" || resolve "refs/heads/$2" || case $2 in
    ???????*) [ -z "$(printf %s "$2" | tr -d 0-9a-f)" ] && resolve "$2" ;;
    esac
fi
[ -n "$commit" ] || reply missing "tags $(git tag --sort=-creatordate | head -n 5 | tr '\n' ' ')"
repo() {
    git "$@"
}
submodule=$(first_submodule "$commit")
[ -z "$submodule" ] || reply "submodule $submodule"
filtered=$(first_filtered "$commit" "$4") || fail "git cannot read the attributes of the commit"
[ -z "$filtered" ] || reply "filter $filtered"
reply "commit $commit"
