# Finds the places of one slot: BASE SLOT.
place() {
    base=$(CDPATH= cd -- "$1" 2> /dev/null && pwd -P) || return 1
    slot=$base/slots/$2
}

# Reads the record of what was started last in the slot.
recall() {
    version= digest= settings= boot= since= token=
    [ -f "$slot/record" ] || return 1
    while read -r key value; do
        case $key in
        version | digest | settings | boot | since | token) eval "$key=\$value" ;;
        esac
    done < "$slot/record"
    [ -n "$version" ]
}

# Makes the slot, and stores the environment of a version, which is on standard input: BASE SLOT VERSION SIZE. Holds the lock.
store_environment() {
    umask 022
    mkdir -p "$1/slots/$2" && place "$1" "$2" || fail "cannot write in $1"
    lock "$slot/lock"
    (umask 077 && cat > "$slot/env.new") || fail "cannot write in $slot"
    if [ "$(wc -c < "$slot/env.new")" -ne "$4" ]; then
        rm -f "$slot/env.new"
        fail "the environment did not arrive whole"
    fi
    mv -f "$slot/env.new" "$slot/env-$3" && fsync_path "$slot/env-$3" || fail "cannot write in $slot"
    recall || version=$3
    for file in "$slot"/env-*; do
        # That of what was started last may be needed to start it again.
        [ "$file" = "$slot/env-$3" ] || [ "$file" = "$slot/env-$version" ] || rm -f "$file"
    done
}

# Looks for a release that is prepared: BASE SLOT VERSION DIGEST. An empty DIGEST is any. Its digest is in `digest_here`.
find_release() {
    place "$1" "$2" && [ -f "$base/manifests/$3.sha256" ] && [ -d "$base/releases/$3" ] || reply absent
    read -r digest_here < "$base/manifests/$3.sha256" || reply absent
    [ -z "$4" ] || [ "$4" = "$digest_here" ] || reply "other $digest_here"
    [ -f "$slot/env-$3" ] || reply absent
}

# Replies where what runs is another release than this: VERSION SETTINGS.
only_this() {
    recall || reply "occupied unknown"
    [ "$version" = "$1" ] && [ "$digest" = "$digest_here" ] && [ "$settings" = "$2" ] || reply "occupied $version"
}

# Gives the slot the release and its environment: VERSION.
take_release() {
    cp "$slot/env-$1" "$slot/env.new" && chmod 600 "$slot/env.new" && mv -f "$slot/env.new" "$slot/env" &&
        ln -sfn "../../releases/$1" "$slot/release.new" && mv -fT "$slot/release.new" "$slot/release" ||
        fail "cannot write in $slot"
}

# The time in hundredths of a second, in `now`.
clock() {
    read -r now rest < /proc/uptime
    now=${now%.*}${now#*.}
}
