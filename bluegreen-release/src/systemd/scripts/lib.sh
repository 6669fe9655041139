# Sessions that no login manager made do not say where the user's systemd listens.
if [ "$scope" = --user ]; then
    export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/run/user/$(id -u)}"
fi

# Asks systemd; needs no rights.
ask() {
    systemctl ${scope:+"$scope"} "$@"
}

# Tells systemd. Each of these has a rule of its own for sudo, word for word.
tell() {
    if [ "$scope" = --user ] || [ "$(id -u)" = 0 ]; then
        systemctl ${scope:+"$scope"} "$@"
    else
        sudo -n systemctl "$@"
    fi
}

# Asks what the unit does, into variables.
look() {
    ActiveState= SubState= Result= ExecMainCode= ExecMainStatus= NRestarts= LoadState= FragmentPath= NeedDaemonReload=
    states=$(ask show -p LoadState,ActiveState,SubState,Result,ExecMainCode,ExecMainStatus,NRestarts,FragmentPath,NeedDaemonReload "$unit") ||
        fail "systemd cannot be asked about $unit"
    while IFS='=' read -r key value; do
        case $key in
        LoadState | ActiveState | SubState | Result | ExecMainCode | ExecMainStatus | NRestarts | FragmentPath | NeedDaemonReload)
            eval "$key=\$value"
            ;;
        esac
    done << END
$states
END
}

is_up() {
    case $ActiveState/$SubState in
    active/* | reloading/* | deactivating/* | activating/*) return 0 ;;
    esac
    return 1
}

# How the program ended last.
ending() {
    case $Result in
    oom-kill) echo "killed by the kernel: out of memory" && return ;;
    timeout) echo "it did not become ready, or did not end, in the time that its unit gives it" && return ;;
    protocol) echo "it ended without saying that it is ready (Type=notify)" && return ;;
    watchdog) echo "killed by the watchdog of its unit" && return ;;
    esac
    case $ExecMainCode in
    1) [ "$ExecMainStatus" -lt 200 ] && echo "exit status $ExecMainStatus" || echo "exit status $ExecMainStatus of systemd, which could not run it" ;;
    2 | 3) echo "killed by signal $ExecMainStatus" ;;
    *) echo "$Result" ;;
    esac
}

# What the program wrote, oldest first: COUNT, and whether systemd's own words about it belong in it.
journal() {
    field=_SYSTEMD_UNIT
    [ "$scope" != --user ] || field=_SYSTEMD_USER_UNIT
    [ -z "$since" ] || set -- "$1" "$2" "--since=$since"
    count=$1 also=$2
    shift 2
    [ -z "$also" ] || set -- "$@" "$field=$unit" + UNIT="$unit" + USER_UNIT="$unit"
    [ -n "$also" ] || set -- "$@" "$field=$unit"
    # From the end, or it would begin with the first line.
    wrote=$(journalctl ${scope:+"$scope"} --no-pager --reverse -q -o cat -n "$count" "$@" 2> /dev/null | tac)
    if [ -n "$wrote" ]; then
        printf '%s\n' "$wrote"
    elif [ "$(id -u)" != 0 ] && [ "$scope" != --user ] && ! id -nG | grep -qwE 'systemd-journal|adm'; then
        echo "(the journal cannot be read: add the user $(id -un) to the group systemd-journal)"
    fi
}

# What is different after each restart of the machine, also where it is a container.
this_boot() {
    read -r id < /proc/sys/kernel/random/boot_id
    echo "$id.$(ask show -p UserspaceTimestampMonotonic --value)"
}

# The time of the newest line in the journal, as its options take it; nothing where there is none.
newest_line() {
    newest=$(journalctl ${scope:+"$scope"} -q -n 0 --show-cursor 2> /dev/null | sed -n 's/^-- cursor: .*;t=\([0-9a-f]*\).*/\1/p')
    [ -z "$newest" ] || printf '@%d.%06d' $((0x$newest / 1000000)) $((0x$newest % 1000000))
}
