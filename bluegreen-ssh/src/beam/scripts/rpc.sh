# Runs a command of the release that was started last in a slot against its node: BASE SLOT WORDS... Exit status 44
# when there is none.
place "$1" "$2" && recall || exit 44
shift 2
release "$version" "" "$@"
