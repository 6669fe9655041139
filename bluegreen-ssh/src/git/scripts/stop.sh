# Points the web root to an empty directory, and runs the service's own command: BASE TURN SECONDS. Replies: `stopped`,
# `nothing`, `late`, `taken <web root>`, or `failed` with lines of the log behind `log`.
place "$1" || reply nothing
[ -d "$repository" ] || reply nothing
take_turn "$2"
shift
look
! is_taken || reply "taken $web"
case $state in
absent | empty) is_aside || reply nothing ;;
stopped) [ -e "$base/live" ] || is_aside || reply nothing ;;
esac
version=$served commit=$(cat "$base/versions/$served" 2> /dev/null)
empty=$base/stopped/${version:-$unknown}
umask 022
mkdir -p "$empty" && point "$empty" || fail "cannot switch $web"
echo "version ${version:-unknown} is served no more" >> "$base/log"
if [ -n "$stop_by" ]; then
    if ! run "$empty" "timeout -k 1 $2 sh -c $stop_by" >> "$base/log" 2>&1; then
        printf '%s\n' failed log
        tail -n 20 "$base/log"
        exit
    fi
fi
rm -f "$base/live" "$base/aside"
reply stopped
