# What git runs after a push by hand: `deploy`, the same that a deployer runs.
reply() {
    printf 'NOT deployed: %s\n' "$*"
    take_back
    exit 1
}

fail() {
    reply "$*"
}

# The branch says what is deployed. So the same push can be made again.
take_back() {
    [ "$(repo rev-parse -q --verify "$ref")" = "$new" ] || return
    if [ -z "${old#"${old%%[!0]*}"}" ]; then
        move_ref "$ref" "" "$new"
    else
        move_ref "$ref" "$old" "$new"
    fi
}

by_hand() {
    take_turn
    commit=$new
    look
    ! is_taken || reply "$web was not made by a deploy: move it away"
    submodule=$(first_submodule "$commit")
    [ -z "$submodule" ] || reply "$submodule is a submodule, and a push does not bring it"
    filtered=$(first_filtered "$commit" "$unfiltered") || reply "git cannot read the attributes of $commit"
    [ -z "$filtered" ] || reply "git filters ${filtered#* } by ${filtered%% *}, and a push brings what is stored instead"
    version=
    for file in "$base"/versions/*; do
        [ -f "$file" ] && grep -qxF "$commit" "$file" && version=${file##*/}
    done
    if [ -z "$version" ]; then
        version=$(printf '%.12s' "$commit")
        record "$version" "$commit"
    fi
    echo "$branch was received. Deploying it to $slot on $(uname -n) ..."
    (deploy "$version" "$commit") > "$base/log" 2>&1
    status=$?
    cat "$base/log"
    [ "$status" -eq 0 ] || reply "see above; the web root and $branch are as they were"
    exec 9>&-
}

place ..
while read -r old new ref; do
    case $ref in
    "refs/heads/$branch") ;;
    refs/bluegreen/*) continue ;;
    *) echo "$ref was received. Nothing is deployed: only $branch is." && continue ;;
    esac
    case $new in
    *[!0]*) by_hand ;;
    *) echo "$branch is gone. What is served stays." ;;
    esac
done
# end
