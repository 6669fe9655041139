# Stores the environment of a version, and looks whether systemd knows the unit as it has to be: BASE SLOT UNIT VERSION
# DIGEST-OF-UNIT SIZE. No digest: the unit is somebody else's. Standard input: the environment, of SIZE bytes.
#
# Replies: `ready`; `unit missing`; `unit differs <path>` and behind `unit` its text; `unit stale`; `linger <user>`.
unit=$3 unit_digest=$5
store_environment "$1" "$2" "$4" "$6"
check_unit
reply ready
