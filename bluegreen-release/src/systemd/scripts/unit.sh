# Replies where the unit is not as it has to be: its digest is in `unit_digest`, or none when it is somebody else's.
check_unit() {
    look
    [ "$LoadState" = loaded ] || reply "unit missing"
    if [ -n "$unit_digest" ] && [ "$(sha256sum < "$FragmentPath" | cut -d' ' -f1)" != "$unit_digest" ]; then
        reply "unit differs $FragmentPath" unit "$(cat "$FragmentPath")"
    fi
    [ "$NeedDaemonReload" != yes ] || reply "unit stale"
    if [ "$scope" = --user ] && [ ! -e "/var/lib/systemd/linger/$(id -un)" ]; then
        reply "linger $(id -un)"
    fi
}
