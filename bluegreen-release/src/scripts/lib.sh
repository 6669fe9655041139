# What all scripts share. Each says how it went in lines of standard output that begin with a word.
export LC_ALL=C

reply() {
    printf '%s\n' "$@"
    exit 0
}

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

# Holds a lock until this process ends.
lock() {
    exec 9>> "$1" || fail "cannot write $1"
    tries=600
    until flock -n 9; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || reply busy
        sleep 0.1
    done
}

# Makes what was written last. Where sync takes no file, it syncs everything.
fsync_path() {
    sync "$1" 2> /dev/null || sync
}

# Replaces a file by standard input, for its owner alone from the first moment.
put() {
    (umask 077 && cat > "$1.new") && fsync_path "$1.new" && mv -f "$1.new" "$1" || fail "cannot write $1"
}
