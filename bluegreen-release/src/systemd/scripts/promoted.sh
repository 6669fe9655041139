# Has only the live unit started at boot: LIVE OTHER. Reply: `enabled`, or `static <unit>` for one that cannot be enabled.
case $(ask is-enabled "$1" 2> /dev/null) in
enabled) ;;
static | generated | transient) reply "static $1" ;;
*) tell enable "$1" || fail "systemd does not enable $1" ;;
esac
case $(ask is-enabled "$2" 2> /dev/null) in
enabled) tell disable "$2" || fail "systemd does not disable $2" ;;
esac
reply enabled
