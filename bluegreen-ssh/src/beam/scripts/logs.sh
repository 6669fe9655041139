# The last lines of a slot's log: BASE SLOT COUNT FILE.
place "$1" "$2" && recall || exit 0
tail_log "$3" "$4"
