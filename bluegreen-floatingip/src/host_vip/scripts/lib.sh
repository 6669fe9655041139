# What all scripts share, behind the prelude: `address`, its `interface`, the file that `mark`s the address as a service's, and
# the `service`, or nothing. Each replies with a word, and the service that the address is marked as.
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH
owner=
# $confirmed is how an address is kept. The kernel would choose an IPv6 address of its whole length for connections that
# this server opens itself, and the next move would cut those: such an address stays deprecated.
case $address in
*:*) whole=128 nodad=nodad confirmed='preferred_lft 0 noprefixroute' ;;
*) whole=32 nodad= confirmed='preferred_lft forever' ;;
esac

# Sets $owner.
whose() {
    [ ! -e "$mark" ] || owner=$(head -n 1 "$mark") || fail "whose $address is cannot be read from $mark"
}

# Marks the address where nobody has, as nobody else can at the same moment. Ends the script where another service has.
claim() {
    [ -n "$service" ] || return 0
    if [ ! -s "$mark" ]; then
        (umask 022 && mkdir -p "${mark%/*}" && printf '%s\n' "$service" > "$mark.new-$$") ||
            fail "$address cannot be marked as the service's by $mark"
        # What is there and empty was cut off by a crash.
        ln "$mark.new-$$" "$mark" 2> /dev/null || [ -s "$mark" ] || mv -f "$mark.new-$$" "$mark"
        rm -f "$mark.new-$$"
    fi
    whose
    [ "$owner" = "$service" ] || say refused
}

# The reply.
say() {
    reply "$1 $owner"
}

# `absent`, `candidate` or `held`; sets $where and $assigned. A candidate is an address that the kernel calls deprecated,
# without the mark of an IPv6 address that is kept so: it works, and is not confirmed yet.
look() {
    line=$(ip -o address show to "$address/$whole") || fail "ip cannot show the addresses of this host"
    [ -n "$line" ] || { state=absent && return; }
    [ "$(printf '%s\n' "$line" | wc -l)" -eq 1 ] || fail "$address is on several interfaces: $line"
    # shellcheck disable=SC2086 # split into words on purpose
    set -- $line
    where=$2 assigned=$4
    case " $line " in
    *' noprefixroute '*) state=held ;;
    *' deprecated '*) state=candidate ;;
    *) state=held ;;
    esac
}

# Tells the network, so that nobody goes on sending to the other server. $1 times, $2 seconds apart.
announce() {
    python3 -I -c "$announcer" "$interface" "$address" "$1" "$2" || fail "$address could not be announced on $interface"
}
