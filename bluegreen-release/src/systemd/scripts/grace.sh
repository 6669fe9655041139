# How long the unit gives its program to end: UNIT.
unit=$1
reply "$(ask show -p TimeoutStopUSec --value "$unit")"
