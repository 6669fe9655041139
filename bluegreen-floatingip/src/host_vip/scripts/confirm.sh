# Makes the address this server's own, and tells the network once more: in between both have answered for it.
claim
look
[ "$state" != absent ] || fail "$address is not on this host any more"
# shellcheck disable=SC2086 # split into words on purpose
ip address change "$assigned" dev "$where" $nodad valid_lft forever $confirmed ||
    fail "$address cannot be confirmed on $where"
announce 5 0.02
say confirmed
