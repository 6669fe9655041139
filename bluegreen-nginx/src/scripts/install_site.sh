# Replaces a site's file, tests the configuration and reloads nginx. The new text comes on standard input.
# STATE SITE EXPECTED NEW LINK PID_FILE ERROR_LOG KEY OURS; EXPECTED and NEW are SHA-256 sums, empty for no file. With a
# LINK, a site that the link does not point to is only stored: nginx does not read it. With a KEY, the text that is
# replaced is kept for whoever undoes what the key names; OURS says that the new text was made here.
state=$1 site=$2 expected=$3 new=$4 link=$5 pid_file=$6 error_log=$7 key=$8 ours=$9
directory=${site%/*} name=${site##*/}
# nginx includes no dot files.
fresh=$directory/.$name.new
previous=$directory/.$name.previous

put_back() {
    if [ -s "$previous" ]; then mv -f "$previous" "$site"; else rm -f "$site" "$previous"; fi
    fsync_path "$directory"
}

replace() {
    if [ -n "$new" ]; then mv -f "$fresh" "$site"; else rm -f "$site"; fi || fail "cannot replace $site"
    fsync_path "$directory"
}

# What is replaced a second time under one key was not there before the first.
keep() {
    before=$(kept_before "$state" "$site")
    mkdir -p "$state/sites" || fail "cannot write in $state"
    found=$(head -n 1 "$before" 2> /dev/null)
    if [ "${found% * *}" = "$key" ]; then
        { printf '%s\n' "$key $new ${found##* }" && tail -n +2 "$before"; } > "$before.new"
    elif [ -e "$site" ]; then
        { printf '%s\n' "$key $new present" && cat "$site"; } > "$before.new"
    else
        printf '%s\n' "$key $new absent" > "$before.new"
    fi && mv -f "$before.new" "$before" || fail "cannot keep a copy of $site"
    fsync_path "$before"
}

lock_state "$state"
[ ! -L "$site" ] || reply foreign
[ "$(digest_of "$site")" = "$expected" ] || reply changed
if [ -n "$new" ]; then
    receive "$fresh" "$new"
    chmod 644 "$fresh" || fail "cannot write $fresh"
fi
[ -z "$key" ] || keep
[ -z "$ours" ] || { mkdir -p "$state/sites" && cp "$fresh" "$(kept_written "$state" "$site")"; } || fail "cannot write in $state"

if [ -n "$link" ] && [ "$(readlink -f "$link")" != "$(readlink -f "$site")" ]; then
    replace
    reply stored
fi
# One that is still there is from an installation that was cut off: it is the last text that nginx is known to like.
if [ ! -e "$previous" ]; then
    if [ -e "$site" ]; then
        cp "$site" "$previous.new" && mv -f "$previous.new" "$previous" || fail "cannot keep a copy of $site"
    else
        : > "$previous" || fail "cannot write in $directory"
    fi
fi
replace
test_and_reload "$pid_file" "$error_log"
