# What every script begins with. Each ends with one reply on standard output, lines that begin with a word; standard error is for
# the words of programs and for people.
export LC_ALL=C

# Ends the script with these lines.
reply() {
    printf '%s\n' "$@"
    exit 0
}

# Ends the script with an error for people.
fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

# Waits for the lock of what descriptor 9 is open on, SECONDS at most. It is held until this process ends, or the descriptor is
# closed. What flock has against it is in `said`; nothing where the time was over.
acquire() {
    tries=$(($1 * 10))
    until said=$(flock -n 9 2>&1); do
        tries=$((tries - 1))
        [ -z "$said" ] && [ "$tries" -gt 0 ] || return 1
        sleep 0.1
    done
}

# Holds the lock of a file, which is made: FILE. Waits for it as long as every script does.
lock() {
    command -v flock > /dev/null || fail "flock is missing on this host (package util-linux)"
    true >> "$1" || fail "cannot write $1"
    exec 9>> "$1"
    acquire "$lock_wait" && return
    [ -n "$said" ] || reply "busy $1"
    fail "$1 cannot be locked: $said"
}

# Flushes a file or a directory to the disk. Where sync takes no file, it flushes everything.
fsync_path() {
    sync -- "$1" 2> /dev/null || sync
}

# Replaces a file by standard input, for its owner alone from the first moment.
put() {
    (umask 077 && cat > "$1.new") && fsync_path "$1.new" && mv -f "$1.new" "$1" || fail "cannot write $1"
}

# The SHA-256 of a file in hexadecimal; nothing if there is none.
digest_of() {
    [ -e "$1" ] || return 0
    set -- "$(sha256sum < "$1")"
    printf '%s' "${1%% *}"
}

# Stores standard input in a file, durably: FILE DIGEST. Of a connection that is lost, the end is missing.
receive() {
    cat > "$1" || fail "cannot write $1"
    [ "$(digest_of "$1")" = "$2" ] || fail "the new text of $1 arrived incomplete"
    fsync_path "$1"
}
