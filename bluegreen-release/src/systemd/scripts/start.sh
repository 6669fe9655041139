# Starts a version, and waits until systemd calls it started: BASE SLOT UNIT VERSION DIGEST SETTINGS DEADLINE LINES. An
# empty DIGEST is any. DEADLINE is in hundredths of a second.
#
# Replies: `running`, `occupied <version>`, `absent`, `other <digest>`; or `failed <how>` and `late <how>`, each with the
# journal's lines behind `log`, and nothing of it left running.
unit=$3 wanted=$4 digest_wanted=$5 settings_wanted=$6 deadline=$7 lines=$8
find_release "$1" "$2" "$wanted" "$digest_wanted"
clock
until=$((now + deadline))
lock "$slot/lock"
look
if is_up; then
    only_this "$wanted" "$settings_wanted"
    # One that was started to its end is left alone, whatever became of it since.
    [ ! -e "$slot/started" ] || reply running
else
    rm -f "$slot/ended" "$slot/started"
    take_release "$wanted"
    printf '%s\n' "version $wanted" "digest $digest_here" "settings $settings_wanted" "boot $(this_boot)" "since $(newest_line)" |
        put "$slot/record"
    fsync_path "$slot"
    [ "$ActiveState" != failed ] || tell reset-failed "$unit" || fail "systemd does not reset $unit"
    tell start --no-block "$unit" || fail "systemd does not start $unit"
fi
# Whoever wants to stop it must not have to wait until it has started.
exec 9>&-
recall || :
outcome=
while :; do
    look
    case $ActiveState/$SubState in
    active/*)
        : > "$slot/started"
        reply running
        ;;
    activating/auto-restart* | failed/*) outcome=failed && break ;;
    # The job may not have begun.
    inactive/*) [ ! -e "$slot/ended" ] || { outcome=failed && break; } ;;
    esac
    [ "$NRestarts" = 0 ] || { outcome=failed && break; }
    clock
    [ "$now" -lt "$until" ] || { outcome=late && break; }
    sleep 0.05
done
how=$(ending)
tell stop --no-block "$unit"
while look && is_up; do sleep 0.1; done
[ -e "$slot/ended" ] || echo "it did not start: $how" > "$slot/ended"
printf '%s\n' "$outcome $how" log
journal "$lines" yes
