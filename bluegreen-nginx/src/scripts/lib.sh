# What all scripts share, behind the prelude.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
umask 022

# Ends the script where the state directory is marked as another service's than the one that OWNER names.
verify() {
    [ -n "$owner" ] || return 0
    marked=$(cat "$1/$mark" 2> /dev/null)
    [ -z "$marked" ] || [ "$marked" = "$owner" ] || reply "belongs $marked"
}

# Marks it where nobody has.
claim() {
    verify "$1"
    [ -z "$owner" ] || [ -n "$marked" ] || {
        printf '%s\n' "$owner" > "$1/$mark.new" && mv -f "$1/$mark.new" "$1/$mark"
    } || fail "cannot write in $1"
}

# Holds the service's lock until this process ends.
lock_state() {
    [ -d "$1" ] || mkdir -p "$1" || fail "cannot write in $1"
    lock "$1/lock"
    claim "$1"
}

# Points a link to a target in one step. nginx includes no dot files.
point() {
    aside=${1%/*}/.${1##*/}.new
    [ ! -L "$aside" ] || rm -f "$aside"
    ln -s "$2" "$aside" && mv -fT "$aside" "$1" || fail "cannot replace $1"
    fsync_path "${1%/*}"
}

# What a link points to; nothing if there is none.
target_of() {
    [ -L "$1" ] || [ ! -e "$1" ] || reply foreign
    readlink "$1" || :
}

# The children of a process. The kernel's own list of them leaves some out while others end.
children_of() {
    cat /proc/[0-9]*/stat 2> /dev/null | sed -n "s/^\([0-9]*\) (.*) [A-Za-z] $1 .*/\1/p"
}

# nginx's workers as `worker PID:START working|leaving`, or `worker unknown`.
workers() {
    master=$(cat "$1" 2> /dev/null)
    [ -n "$master" ] && [ -r "/proc/$master/stat" ] || {
        echo worker unknown
        return
    }
    for pid in $(children_of "$master"); do
        title=$(tr '\0' ' ' < "/proc/$pid/cmdline") 2> /dev/null || continue
        case $title in
        *'worker process is shutting down'*) doing=leaving ;;
        *'worker process'*) doing=working ;;
        *) continue ;;
        esac
        # The program's name stands in parentheses and may hold blanks; the 20th word after it is the start time.
        stat=$(cat "/proc/$pid/stat") 2> /dev/null || continue
        # shellcheck disable=SC2086 # split into words on purpose
        set -- ${stat##*) }
        echo "worker $pid:${20} $doing"
    done
}

size_of() {
    if [ -f "$1" ] && [ -r "$1" ]; then wc -c < "$1"; else echo 0; fi
}

# Reloads nginx after its old configuration was put back.
reload_old() {
    said=$(test_nginx 2>&1 9>&- && reload_nginx 2>&1 9>&-) || fail "the old one is back, and nginx cannot be reloaded: $said"
}

# Where the text of a site's file is kept as it was last written here, and as it was before an operation.
kept_written() { printf '%s' "$1/sites/${2##*/}.written"; }
kept_before() { printf '%s' "$1/sites/${2##*/}.before"; }

# Tests the configuration and reloads nginx. What was changed is put back if either fails. The replies are
# `test-failed`, `reload-failed`, or `reloaded`, the size of the error log, the workers of before, and what the test
# warned of.
test_and_reload() {
    trap 'put_back; exit 1' HUP INT TERM
    if ! said=$(test_nginx 2>&1 9>&-); then
        put_back
        printf '%s\n' "$said" >&2
        reply test-failed
    fi
    warnings=$(printf '%s\n' "$said" | grep -F '[warn]' | sed 's/^/warn /')
    printf '%s\n' "$warnings" > "$state/warnings" || :
    before=$(workers "$1")
    size=$(size_of "$2")
    if ! said=$(reload_nginx 2>&1 9>&-); then
        put_back
        printf '%s\n' "$said" >&2
        reply reload-failed
    fi
    reply reloaded "log $size" "$before" "$warnings"
}
