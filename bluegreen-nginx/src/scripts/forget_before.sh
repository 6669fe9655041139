# Removes the text that was kept for an undo. STATE SITE
lock_state "$1"
rm -f "$(kept_before "$1" "$2")"
reply forgotten
