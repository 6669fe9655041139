# Finds a release's commit in the repository on this machine: REPOSITORY VERSION REVISION. Without a revision, the version
# names it: a tag (also with a v before it), a branch, or a commit.
#
# Replies: `commit <id>`, `repository`, `missing` with a line `tags <names>`, or `submodule <path>`.
command -v git > /dev/null || reply "git"
cd -- "$1" 2> /dev/null || reply "repository there is no such directory"
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
submodule=$(git ls-tree -r "$commit" | sed -n 's/^160000 [^\t]*\t//p' | head -n 1)
[ -z "$submodule" ] || reply "submodule $submodule"
reply "commit $commit"
