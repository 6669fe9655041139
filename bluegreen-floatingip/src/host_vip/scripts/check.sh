# Whether this host can take the address, or give it up. `lingering`: `reset` if it must be able to reset connections.
[ "$(id -u)" -eq 0 ] || fail "not root: moving an address needs root, or sudo"
whose
for tool in ip python3 $([ "$lingering" != reset ] || echo ss); do
    command -v "$tool" > /dev/null || fail "$tool is missing"
done
ip -o link show dev "$interface" up | grep -q . || fail "the interface $interface is not there, or not up"
look
[ "$state" = absent ] || [ "$where" = "$interface" ] || fail "$address is on $where here, not on $interface"
say ready
