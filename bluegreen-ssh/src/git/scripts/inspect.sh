# Says what the web root points to: BASE. Reply: its state, the version, and the commit.
place "$1"
look
reply "$state $served $(cat "$base/versions/$served" 2> /dev/null)"
