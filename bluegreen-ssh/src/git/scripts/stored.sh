# What of a commit a checkout does not fill with what is stored in it.

# The first submodule: its path. COMMIT
first_submodule() {
    repo ls-tree -r "$1" | sed -n 's/^160000 [^\t]*\t//p' | head -n 1
}

# The first file with an attribute `filter` that is none of the words: `<name> <path>`. COMMIT WORDS
#
# Attributes are as the commit itself has them; git can read those only from an index.
first_filtered() (
    index=$(mktemp) || exit 1
    trap 'rm -f -- "$index" "$index.lock"' EXIT
    rm -f -- "$index"
    export GIT_INDEX_FILE="$index"
    repo read-tree "$1" || exit 1
    repo ls-files -z | repo check-attr -z --cached --stdin filter | tr '\0\n' '\n?' |
        while read -r path && read -r attribute && read -r filter; do
            case "$filter" in unspecified | unset) continue ;; esac
            case " $2 " in *" $filter "*) continue ;; esac
            printf '%s %s\n' "$filter" "$path"
        done | head -n 1
)
