# The last lines of a slot's log: BASE SLOT UNIT COUNT.
unit=$3
place "$1" "$2" && recall || exit 0
journal "$4" ""
