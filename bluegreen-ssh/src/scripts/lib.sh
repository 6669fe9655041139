# What the scripts of all runtimes here share, behind the prelude.

# Replaces a file of ours that people may edit by FILE.new, and keeps its text beside, so that it is known what others have put
# there since. A cut-off leaves the text of before or the next one.
replace() {
    ! is_same "$1" "$1.next" || mv -f "$1.next" "$1.written"
    (umask 077 && cp "$1.new" "$1.next") && fsync_path "$1.next" && fsync_path "$1.new" && mv -f "$1.new" "$1" &&
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
