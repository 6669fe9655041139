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

# Holds a lock until this process ends, or descriptor 9 is closed.
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
settle() {
    sync "$1" 2> /dev/null || sync
}

# Replaces a file of ours that people may edit by FILE.new, and keeps its text beside, so that it is known what others have put
# there since. A cut-off leaves the text of before or the next one.
replace() {
    ! is_same "$1" "$1.next" || mv -f "$1.next" "$1.written"
    (umask 077 && cp "$1.new" "$1.next") && settle "$1.next" && settle "$1.new" && mv -f "$1.new" "$1" &&
        mv -f "$1.next" "$1.written" || fail "cannot write $1"
}

# Whether such a file holds what others have put there.
is_changed() {
    [ -s "$1" ] && [ -e "$1.written" ] && ! is_same "$1" "$1.written" && ! is_same "$1" "$1.next"
}

is_same() {
    cmp -s "$1" "$2" 2> /dev/null
}

# The lines that others have taken out of it or put into it.
difference() {
    grep -vxF -f "$1" "$1.written" | sed 's/^/-/'
    grep -vxF -f "$1.written" "$1" | sed 's/^/+/'
}

# Replaces a file by standard input, for its owner alone from the first moment.
put() {
    (umask 077 && cat > "$1.new") && settle "$1.new" && mv -f "$1.new" "$1" || fail "cannot write $1"
}
