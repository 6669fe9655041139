//! Programs of releases.

/// It serves until it is asked to end.
pub(crate) const SERVES: &str = "echo it speaks; echo of port $1 as $VERSION in $SLOT
trap 'echo it ends; exit 0' TERM
while :; do sleep 0.1 & wait $!; done";

/// It does not end when it is asked to.
pub(crate) const STUBBORN: &str = "echo it speaks; echo and stays; trap '' TERM; while :; do sleep 0.1; done";
