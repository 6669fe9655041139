id "$user" > /dev/null
group=$(id -gn "$user")

# The deployer makes the releases; the program writes in shared/ alone.
if [ ! -d "$directory" ]; then
    mkdir -p "$directory"
    chown "$deployer:$(id -gn "$deployer")" "$directory"
    echo "made $directory"
fi
if [ ! -d "$directory/shared" ]; then
    mkdir "$directory/shared"
    chown "$deployer:$group" "$directory/shared"
    chmod 2775 "$directory/shared"
fi

if [ "$deployer" != root ]; then
    install_rules "bluegreen-$service" "$rules"
    if ! id -nG "$deployer" | grep -qwE 'systemd-journal|adm'; then
        usermod -aG systemd-journal "$deployer"
        echo "added $deployer to the group systemd-journal"
    fi
fi
