# Starts a release, and waits until it has booted: BASE SLOT VERSION CONTENT PORT NODE DEADLINE LINES LOG. An empty
# CONTENT is any.
#
# Replies: `running <port> <node>`, `occupied <version>`, `absent`, `other <content>`, `taken <node>`; or `failed`,
# `late`, `named <node>`, each with lines of the log behind, and nothing of it left running.
place "$1" "$2" || reply absent
wanted=$3 content_wanted=$4 port_wanted=$5 node_wanted=$6 deadline=$7 lines=$8 log=$9
release=$base/releases/$wanted
[ -f "$release/.sha256" ] || reply absent
read -r content_here < "$release/.sha256" || reply absent
[ -z "$content_wanted" ] || [ "$content_wanted" = "$content_here" ] || reply "other $content_here"
lock "$slot/lock"
running=
if recall; then
    look "$token"
    if [ -n "$beam" ]; then
        [ "$version" = "$wanted" ] && [ "$content" = "$content_here" ] || reply "occupied $version"
        running=yes
    elif [ -n "$members" ]; then
        end "$token"
    fi
fi

if [ -z "$running" ]; then
    version=$wanted content=$content_here port=$port_wanted node=$node_wanted
    # The port mapper stays behind when all nodes are gone, so it must not carry the secrets of this one.
    for epmd in "$release"/erts-*/bin/epmd "$(command -v epmd)"; do
        [ -x "$epmd" ] && break
    done
    if [ -x "$epmd" ]; then
        (cd / && env -i PATH="$PATH" ERL_EPMD_PORT="$mapper" $address "$epmd" -daemon < /dev/null > /dev/null 2>&1 9>&-)
        names=$(env -i PATH="$PATH" ERL_EPMD_PORT="$mapper" "$epmd" -names 2> /dev/null)
        case $names in *"name ${node%%@*} at port"*) reply "taken ${node%%@*}" ;; esac
    fi
    read -r token < /proc/sys/kernel/random/uuid || fail "cannot make a mark"
    clock
    rm -rf "$slot/ended" "$slot/log.old" "$slot"/booted.* "$slot"/tmp/*.runtime.config "$slot/tmp/pipe"
    [ ! -d "$slot/tmp/log" ] || mv -T "$slot/tmp/log" "$slot/log.old" || fail "cannot write in $slot"
    printf 'version %s\ncontent %s\ntoken %s\nport %s\nnode %s\nstarted %s\n' "$version" "$content" "$token" "$port" "$node" \
        "$(cat /proc/sys/kernel/random/boot_id)" | put "$slot/record"
    put "$slot/home/.erlang.cookie" < "$base/cookie"
    settle "$slot"
    mark=$token
    # A boot goes on while an application that could not start takes the node down; then nobody answers the first call.
    hook=" -eval 'application:which_applications(infinity),file:write_file(os:getenv(\"BLUEGREEN_BOOTED\")++os:getpid(),[atom_to_list(node()),10]),os:unsetenv(\"ERL_AFLAGS\")'"
    (release "$version" "$slot/env" daemon < /dev/null > "$slot/tmp/daemon.out" 2>&1 9>&-)
fi
# Whoever wants to stop it must not have to wait until it has booted.
exec 9>&-

# The node says itself that it has booted, in a file named after its process: to ask it would take another node.
booted() {
    for file in "$slot"/booted.*; do
        [ -s "$file" ] || continue
        look "$token"
        [ "$file" = "$slot/booted.$beam" ] && read -r name < "$file" && return
    done
    return 1
}

clock
until=$((now + deadline)) round=0 name=
while ! booted; do
    if [ $((round % 8)) -eq 0 ]; then
        ! gone "$token" || { outcome=failed && break; }
        clock
        [ "$now" -lt "$until" ] || { outcome=late && break; }
    fi
    round=$((round + 1))
    sleep 0.02
done
if [ -n "$name" ]; then
    [ "$name" != "$node" ] || reply "running $port $node"
    outcome="named $name"
fi
end "$token"
lock "$slot/lock"
[ -e "$slot/ended" ] || echo "it did not boot" > "$slot/ended"
printf '%s\n' "$outcome" log
cat "$slot/tmp/daemon.out"
tail_log "$lines" "$log"
