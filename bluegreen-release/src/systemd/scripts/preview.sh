# Looks whether the unit is as it has to be: UNIT DIGEST. Replies: `ready`, or those of `check_unit`.
unit=$1 unit_digest=$2
check_unit
reply ready
