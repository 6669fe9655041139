# Stops what runs in a slot: BASE SLOT GRACE, in hundredths of a second. Reply: `stopped`, and a line `killed <what>` for each
# process that was ended by force.
place "$1" "$2" && [ -d "$slot" ] || reply stopped
lock "$slot/lock"
look || reply stopped
[ -n "$(members)" ] || reply stopped
! is_up || : > "$slot/stopping"
end_all "$3"
reply stopped "$(printf '%s\n' "$killed" | sed -n 's/^./killed &/p')"
