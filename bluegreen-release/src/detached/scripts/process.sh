# Reads what the kernel says of a process that runs: PID. Into `parent`, `session`, and `start`, the time at which it started.
stat_of() {
    kernel=$(cat "/proc/$1/stat" 2> /dev/null) || return 1
    # Its name may hold anything, parentheses and line ends too. Behind the last one there are a letter and numbers.
    # shellcheck disable=SC2086
    set -- ${kernel##*) }
    [ $# -ge 20 ] && [ "$1" != Z ] && [ "$1" != X ] || return 1
    parent=$2 session=$4
    shift 19
    start=$1
}

# Replaces a small file by words, so that whoever reads it sees all of them: FILE WORDS...
note() {
    file=$1
    shift
    printf '%s\n' "$*" > "$file.new" && mv -f "$file.new" "$file"
}
