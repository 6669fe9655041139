# Looks whether a prepare would be refused: BASE SLOT. Standard input: as that of a prepare. Replies: `fine`, or those of
# `refuse_changed`.
place "$1" "$2" || reply fine
IFS= read -r cookie || reply fine
refuse_changed -
reply fine
