# Looks whether others have changed the hook: BASE. Standard input: the hook that is to be, if it is known. Replies: `fine`, or that
# of `refuse_changed`.
place "$1" || reply fine
refuse_changed -
reply fine
