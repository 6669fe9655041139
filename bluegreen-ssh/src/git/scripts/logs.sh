# What the last deploy wrote: BASE COUNT.
place "$1" && [ -f "$base/log" ] || exit 0
tail -n "$2" "$base/log"
