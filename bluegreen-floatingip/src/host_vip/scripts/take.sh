# Takes the address beside the other server, and tells the network.
claim
look
taken=
if [ "$state" = absent ]; then
    # shellcheck disable=SC2086 # split into words on purpose
    ip address add "$address/$whole" dev "$interface" $nodad valid_lft forever preferred_lft 0 ||
        fail "$address cannot be added to $interface"
    taken=yes
fi
(announce 5 0.01) || {
    # Nobody was told: as if nothing had happened.
    [ -z "$taken" ] || ip address del "$address/$whole" dev "$interface"
    exit 1
}
say taken
