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

# Takes what runs of this release already, and else starts it. `joined` says which.
begin() {
    lock "$slot/lock"
    joined=
    if recall; then
        look "$token"
        if [ -n "$beam" ]; then
            [ "$version" = "$wanted" ] && [ "$content" = "$content_here" ] || reply "occupied $version"
            # Once it has booted it is left alone, whatever became of it since.
            # shellcheck disable=SC2010,SC2143 # the names are ours; the list is short
            [ -z "$(ls "$slot" | grep '^booted\.')" ] || reply "running $port $node"
            joined=yes
        elif [ -n "$members" ]; then
            end "$token"
        fi
    fi
    [ -n "$joined" ] || launch
    # Whoever wants to stop it must not have to wait until it has booted.
    exec 9>&-
}

launch() {
    version=$wanted content=$content_here port=$port_wanted node=$node_wanted
    claim_name
    rm -rf "$slot/ended" "$slot/log.old" "$slot"/booted.* "$slot"/tmp/*.runtime.config "$slot/tmp/pipe"
    [ ! -d "$slot/tmp/log" ] || mv -T "$slot/tmp/log" "$slot/log.old" || fail "cannot write in $slot"
    read -r token < /proc/sys/kernel/random/uuid || fail "cannot make a mark"
    read -r started < /proc/sys/kernel/random/boot_id
    printf '%s\n' "version $version" "content $content" "token $token" "port $port" "node $node" "started $started" |
        put "$slot/record"
    put "$slot/home/.erlang.cookie" < "$base/cookie"
    bring_environment_back "$version"
    fsync_path "$slot"
    mark=$token
    # A boot goes on while an application that could not start takes the node down; then nobody answers the first call.
    hook='application:which_applications(infinity),'
    hook=$hook'file:write_file(os:getenv("BLUEGREEN_BOOTED")++os:getpid(),[atom_to_list(node()),10]),'
    hook=" -eval '"$hook'os:unsetenv("ERL_AFLAGS"),os:unsetenv("ERL_ZFLAGS")'"'"
    (release "$version" "$slot/env" daemon < /dev/null > "$slot/tmp/daemon.out" 2>&1 9>&-)
}

# Looks whether another node has our name. The port mapper that knows it stays behind when all nodes are gone, so it
# must not carry the secrets of this one.
claim_name() {
    for epmd in "$release"/erts-*/bin/epmd "$(command -v epmd)"; do
        [ -x "$epmd" ] && break
    done
    [ -x "$epmd" ] || return 0
    # shellcheck disable=SC2086 # split into words on purpose
    (cd / && env -i PATH="$PATH" ERL_EPMD_PORT="$mapper" $address "$epmd" -daemon < /dev/null > /dev/null 2>&1 9>&-)
    # It takes a moment to hear that a node has ended.
    tries=10
    while env -i PATH="$PATH" ERL_EPMD_PORT="$mapper" "$epmd" -names 2> /dev/null | grep -q "^name ${node%%@*} at port"; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || reply "taken ${node%%@*}"
        sleep 0.1
    done
}

# The node says itself that it has booted, in a file named after its process: to ask it would take another node.
booted() {
    for file in "$slot"/booted.*; do
        [ -s "$file" ] || continue
        look "$token"
        [ "$file" = "$slot/booted.$beam" ] && read -r name < "$file" && return
    done
    return 1
}

# Waits until it has booted, and sets `outcome` otherwise.
await() {
    round=0 name= outcome=
    while ! booted; do
        if [ $((round % 8)) -eq 0 ]; then
            ! gone "$token" || { outcome=failed && return; }
            clock
            [ "$now" -lt "$until" ] || { outcome=late && return; }
        fi
        round=$((round + 1))
        sleep 0.02
    done
    [ "$name" != "$node" ] || reply "running $port $node"
    outcome="named $name"
}

clock
until=$((now + deadline))
begin
await
# It was another's start, which was cut off, and what it had begun may have been ended with it.
if [ "$outcome" = failed ] && [ -n "$joined" ]; then
    begin
    await
fi
end "$token"
lock "$slot/lock"
mine=$token
# Someone else may have stopped it, and started another.
recall && [ "$token" = "$mine" ] && [ ! -e "$slot/ended" ] && echo "it did not boot" > "$slot/ended"
printf '%s\n' "$outcome" log
cat "$slot/tmp/daemon.out"
tail_log "$lines" "$log"
