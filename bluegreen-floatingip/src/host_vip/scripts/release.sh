# Gives the address up. $3: `reset` or `leave`, for the connections that are open.
look
[ "$state" != absent ] || { echo released && exit; }
if [ "$3" = reset ]; then
    # While the address is still here, so that the peers hear of it: a download would hang otherwise.
    case $address in
    *:*) ours="[$address]" ;;
    *) ours=$address ;;
    esac
    ss -K src "$ours" > /dev/null || fail "ss could not reset the connections of $address"
fi
ip address del "$assigned" dev "$where" || fail "$address cannot be removed from $where"
look
[ "$state" = absent ] || fail "$address was removed from this host, and is here again: something else sets it"
echo released
