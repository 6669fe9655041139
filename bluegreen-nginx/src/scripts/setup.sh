#!/bin/sh
# Lets an account that is not root deploy behind nginx. It can be repeated, and changes only what is not as it should be.
set -eu
umask 022
# WORDS
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
deployer=${DEPLOY_USER:-${SUDO_USER:-$(id -un)}}

# Makes a directory, with those above it, and gives what was made to the deployer, unless it is at the root.
make_directory() {
    [ ! -d "$1" ] || return 0
    above=${1%/*}
    [ -z "$above" ] || make_directory "$above"
    mkdir -p "$1"
    case $1 in
    /*/*) chown "$deployer:$(id -gn "$deployer")" "$1" ;;
    esac
    echo "made $1"
}

case $sites in
/etc/nginx/*)
    echo "the site is to be in $sites, which belongs to root: give the layout a directory of the account's own" >&2
    exit 1
    ;;
esac
make_directory "$state"
make_directory "$sites"

included=/etc/nginx/conf.d/$service.conf
if ! printf '%s' "$include" | cmp -s - "$included"; then
    printf '%s' "$include" > "$included.new"
    mv -f "$included.new" "$included"
    echo "wrote $included"
    nginx -t
    nginx -s reload || echo "nginx does not run; it reads the site when it is started" >&2
fi

if [ -n "$by_sudo" ] && [ "$deployer" != root ]; then
    nginx=$(command -v nginx)
    rules=/etc/sudoers.d/bluegreen-$service-nginx
    # Under this name sudo does not read it before it is known to be right.
    aside=/etc/sudoers.d/.bluegreen-$service-nginx
    printf '%s\n' "$deployer ALL=(root) NOPASSWD: $nginx -v, $nginx -t, $nginx -T, $nginx -s reload" > "$aside"
    chmod 440 "$aside"
    visudo -cqf "$aside"
    if cmp -s "$aside" "$rules"; then
        rm -f "$aside"
    else
        mv -f "$aside" "$rules"
        echo "wrote $rules"
    fi
fi
