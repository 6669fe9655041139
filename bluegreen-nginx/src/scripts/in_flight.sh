# The connections that lead to the given addresses (a pattern for them in /proc/net/tcp), and the sockets that nginx's
# workers hold. The table is that of nginx's own network. PID_FILE PATTERN
pid_file=$1 pattern=$2
master=$(cat "$pid_file" 2> /dev/null)
net=/proc/net
[ -z "$master" ] || [ ! -r "/proc/$master/net/tcp" ] || net=/proc/$master/net
# The table comes first: a connection that closes in between is then missing among the sockets, and not in flight.
for table in "$net/tcp" "$net/tcp6"; do
    [ ! -r "$table" ] || grep -E "$pattern" "$table" | sed 's/^/tcp /'
done
[ -n "$master" ] && [ -r "/proc/$master/stat" ] || reply 'sockets unknown'
for pid in $(children_of "$master"); do
    if [ ! -r "/proc/$pid/fd" ]; then
        # A worker that has just ended hides nothing.
        [ -d "/proc/$pid" ] || continue
        reply 'sockets unknown'
    fi
    # shellcheck disable=SC2012 # the names in it are numbers and links
    ls -l "/proc/$pid/fd" 2> /dev/null | sed -n 's/.*socket:\[\([0-9]*\)\]$/socket \1/p'
done
exit 0
