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

changed=
install_file "/etc/nginx/conf.d/$service.conf" 644 "$include"
if [ -n "$changed" ]; then
    nginx -t
    nginx -s reload || echo "nginx does not run; it reads the site when it is started" >&2
fi

if [ -n "$by_sudo" ] && [ "$deployer" != root ]; then
    nginx=$(command -v nginx)
    install_rules "bluegreen-$service-nginx" "$deployer ALL=(root) NOPASSWD: $nginx -v, $nginx -t, $nginx -T, $nginx -s reload
"
fi
