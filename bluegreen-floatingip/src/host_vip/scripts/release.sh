# Gives the address up. `lingering`: `reset` or `leave`, for the connections that are open.
claim
look
[ "$state" != absent ] || say released
if [ "$lingering" = reset ]; then
    # While the address is still here, so that the peers hear of it: a download would hang otherwise.
    case $address in
    *:*) ours="[$address]" ;;
    *) ours=$address ;;
    esac
    said=$(ss -K src "$ours" 2>&1 > /dev/null) || fail "ss could not reset the connections of $address: $said"
    # What the kernel cannot reset, ss skips without a word.
    left=$(ss -Htn state established src "$ours" | wc -l)
    [ "$left" -eq 0 ] || printf '%s\n' "$left connections of $address could not be reset, and may hang: can the kernel do it (CONFIG_INET_DIAG_DESTROY)?" >&2
fi
ip address del "$assigned" dev "$where" || fail "$address cannot be removed from $where"
look
[ "$state" = absent ] || fail "$address was removed from this host, and is here again: something else sets it"
say released
