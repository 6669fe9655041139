set -eu
umask 022
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
changed=
deployer=${DEPLOY_USER:-${SUDO_USER:-$(id -un)}}

# Installs a file, and sets `changed`, where it is not so already: PATH MODE TEXT
install_file() {
    if [ -e "$1" ] && printf '%s' "$3" | cmp -s - "$1"; then return 0; fi
    printf '%s' "$3" > "$1.new"
    chmod "$2" "$1.new"
    mv -f "$1.new" "$1"
    changed=yes
    echo "wrote $1"
}

# Installs rules for sudo: NAME TEXT
install_rules() {
    rules=/etc/sudoers.d/$1
    if printf '%s' "$2" | cmp -s - "$rules"; then return 0; fi
    # Under this name sudo does not read it before it is known to be right.
    aside=/etc/sudoers.d/.$1
    printf '%s' "$2" > "$aside"
    chmod 440 "$aside"
    visudo -cqf "$aside"
    mv -f "$aside" "$rules"
    echo "wrote $rules"
}
