# The last lines of a slot's log: BASE SLOT COUNT.
place "$1" "$2" || exit 0
last_lines "$3"
