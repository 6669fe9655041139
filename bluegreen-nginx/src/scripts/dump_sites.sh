# The files that nginx's configuration consists of, each with the server names and the marks of our sites in it; nothing
# where nginx does not tell.
dump_nginx 2> /dev/null | sed -n \
    -e 's/^# configuration file \(.*\):$/file \1/p' \
    -e 's/^[^#]*server_name[[:space:]]\{1,\}\([^;]*\);.*/name \1/p' \
    -e 's/.* site=\([0-9a-f]\{1,\}\)[ "].*/site \1/p'
exit 0
