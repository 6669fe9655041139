# Brings a version onto the web root, all or nothing: VERSION COMMIT. The lock is held; what it says is the log.
deploy() {
    version=$1 commit=$2
    look
    before=$target
    check_out && publish
}

# A version is checked out at the path where it stays, since what is built there may remember the path. It counts when
# `ready` says so.
check_out() {
    release=$base/releases/$version
    if [ -f "$base/ready/$version" ] && [ -d "$release" ]; then
        echo "version $version ($commit) is checked out already"
        return
    fi
    rm -rf "$release" "$base/ready/$version" "$base/index/$version"
    umask 022
    echo "checking out version $version ($commit)"
    fill && return
    full_disk
    rm -rf "$release"
    return 1
}

fill() {
    mkdir "$release" "$base/index/$version" && (files_of "$version" read-tree --reset -u "$commit") && commands || return 1
    changes "$version" > "$base/changes" || return 1
    sync -f "$release" 2> /dev/null || sync
    mv -f "$base/changes" "$base/ready/$version" && fsync_path "$base/ready"
}

# Whatever fails puts the web root back.
publish() {
    [ "$before" != "$release" ] || before=$(last)
    point "$release" || return 1
    took_over=
    ! is_aside || took_over=yes
    if restart && rm -f "$base/aside" && (printf '%s\n' "$version" | put "$base/live") &&
        move_ref "refs/heads/$branch" "$commit"; then
        touch "$base/versions/$version"
        echo "version $version ($commit) is served from $web"
        prune
        return 0
    fi
    rm -f "$base/live"
    if [ -n "$took_over" ]; then
        move_back
    elif [ -n "$before" ]; then
        point "$before"
    else
        rm -f "$web"
    fi
    echo "the web root is as it was before"
    restart
    return 1
}

# Git does not say why it cannot write a file.
full_disk() {
    for unit in -k -i; do
        df -P "$unit" "$release" 2> /dev/null | awk 'NR == 2 && $2 > 0 && $4 < 256 { print "No space left on device " $1 }'
    done
}

# Where the web root pointed before a deploy that was cut off between the switch and its end.
last() {
    live=$(cat "$base/live" 2> /dev/null)
    if [ -n "$live" ] && [ "$live" != "$version" ] && [ -d "$base/releases/$live" ]; then
        echo "$base/releases/$live"
    else
        mkdir -p "$base/stopped/$version" && echo "$base/stopped/$version"
    fi
}

restart() {
    [ -z "$restart_by" ] || run "$release" "$restart_by"
}

# Keeps the newest, what is on the web root, and `version`.
prune() {
    look
    newer=0
    # shellcheck disable=SC2045 # the names are versions, without blanks
    for old in $(ls -1t "$base/versions"); do
        newer=$((newer + 1))
        [ "$newer" -gt "$keep" ] && [ "$old" != "$served" ] && [ "$old" != "$version" ] || continue
        read -r gone < "$base/versions/$old"
        rm -f "$base/ready/$old"
        rm -rf "$base/releases/$old" "$base/index/$old" "$base/stopped/$old"
        rm -f "$base/versions/$old"
        grep -qsxF "$gone" "$base"/versions/* || move_ref "refs/bluegreen/$gone" ""
    done
}
