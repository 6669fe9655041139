# Evaluates an expression in a release that is prepared, without starting it: BASE SLOT VERSION PORT NODE EXPRESSION.
# Exit status 44 when it is not prepared.
place "$1" "$2" || exit 44
version=$3 port=$4 node=$5
[ -f "$base/releases/$version/.sha256" ] && [ -f "$slot/env" ] || exit 44
release "$version" "$slot/env" eval "$6"
