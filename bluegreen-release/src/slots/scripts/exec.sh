# Runs a command in a release, with its environment: BASE SLOT VERSION WORDS... No VERSION: the one that was started last in
# the slot. Exit status 44 when there is none.
place "$1" "$2" && { [ -n "$3" ] && version=$3 || recall; } || exit 44
cd "$base/releases/$version" 2> /dev/null || exit 44
file=$slot/env-$version
[ -f "$file" ] || file=$slot/env
shift 3
set -a
# shellcheck disable=SC1090 # it is made by a deploy
. "$file" || exit 1
set +a
exec "$@"
