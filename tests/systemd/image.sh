#!/bin/sh
# Writes a root file system to standard output in which systemd is the first process: this machine's /etc, and directories.
# Its programs are this machine's own /usr, which a container mounts.
set -eu
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
cd "$root"
for directory in usr proc sys dev run tmp root home srv etc var/tmp var/log/journal var/lib/systemd/linger var/lib/nginx var/log/nginx; do
    mkdir -p "$directory"
done
chmod 1777 tmp var/tmp
for link in bin sbin lib lib64 lib32; do
    [ ! -L "/$link" ] || ln -s "usr/$link" "$link"
done
tar -C / -cf - --exclude='etc/systemd/system/*' --exclude=etc/machine-id --exclude=etc/ssh/ssh_host_* etc | tar -xf -
: > etc/machine-id
mkdir -p etc/systemd/system/multi-user.target.wants
for service in ssh nginx; do
    ln -s "/lib/systemd/system/$service.service" "etc/systemd/system/multi-user.target.wants/$service.service"
done
rm -f etc/nginx/sites-enabled/*
printf 'UsePAM yes\nPasswordAuthentication no\nMaxStartups 100\n' > etc/ssh/sshd_config
ssh-keygen -q -t ed25519 -N '' -f etc/ssh/ssh_host_ed25519_key
# A user who deploys, and another one that programs can run as.
for user in deploy:1500 shop:1501; do
    name=${user%:*} id=${user#*:}
    echo "$name:x:$id:$id::/home/$name:/bin/sh" >> etc/passwd
    echo "$name:x:$id:" >> etc/group
    echo "$name:*:19000:0:99999:7:::" >> etc/shadow
    mkdir -p "home/$name"
    chown "$id:$id" "home/$name"
done
tar -cf - .
