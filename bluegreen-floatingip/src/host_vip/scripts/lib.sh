# What all scripts share. $1 is the address, $2 the interface. Each ends with one word on standard output; standard error
# is for people.
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH
address=$1
interface=$2
case $address in
*:*) whole=128 nodad=nodad ;;
*) whole=32 nodad= ;;
esac

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

# `absent`, `candidate` or `held`; sets $where and $assigned. A candidate is an address that the kernel calls deprecated:
# it works, and is not confirmed yet.
look() {
    line=$(ip -o address show to "$address/$whole") || fail "ip cannot show the addresses of this host"
    [ -n "$line" ] || { state=absent && return; }
    [ "$(printf '%s\n' "$line" | wc -l)" -eq 1 ] || fail "$address is on several interfaces: $line"
    set -- $line
    where=$2 assigned=$4
    case " $line " in
    *' deprecated '*) state=candidate ;;
    *) state=held ;;
    esac
}

# Tells the network, so that nobody goes on sending to the other server. $1 times, $2 seconds apart.
announce() {
    python3 -I -c "$announcer" "$interface" "$address" "$1" "$2" || fail "$address could not be announced on $interface"
}
