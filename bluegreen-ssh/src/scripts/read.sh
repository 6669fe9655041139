# Writes the file $1 to standard output; exit status 44 when there is none.
cat -- "$1" && exit 0
[ -e "$1" ] && exit 1
# It cannot be seen: is it not there, or is a directory on the way closed to us?
way=$1
while [ "$way" != "${way%/*}" ]; do
    way=${way%/*}
    if [ -d "${way:-/}" ]; then
        [ -x "${way:-/}" ] || exit 1
        break
    fi
done
exit 44
