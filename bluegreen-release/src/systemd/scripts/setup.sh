#!/bin/sh
# Sets a server up for deploys with systemd. It can be repeated, and changes only what is not as it should be.
set -eu
umask 022
changed=
deployer=${DEPLOY_USER:-${SUDO_USER:-$(id -un)}}

# PATH MODE TEXT
install_file() {
    if [ -e "$1" ] && printf '%s' "$3" | cmp -s - "$1"; then return 0; fi
    printf '%s' "$3" > "$1.new"
    chmod "$2" "$1.new"
    mv -f "$1.new" "$1"
    changed=yes
    echo "wrote $1"
}
