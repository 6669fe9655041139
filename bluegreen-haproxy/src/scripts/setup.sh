if [ ! -d "$state" ]; then
    mkdir -p "$state"
    chown "$deployer:$(id -gn "$deployer")" "$state"
    echo "made $state"
fi

# Whoever is in the group of the socket may switch, and do all else that the socket allows.
if [ -n "$socket" ] && [ "$deployer" != root ]; then
    if [ ! -S "$socket" ]; then
        echo "there is no socket $socket: start HAProxy with a \`stats socket\` there, and run this again" >&2
        exit 1
    fi
    group=$(stat -c %G "$socket")
    if [ "$group" = root ]; then
        echo "$socket belongs to the group root: give it one of its own, with \`mode 660 group haproxy\` behind its path" >&2
        exit 1
    fi
    case " $(id -nG "$deployer") " in
    *" $group "*) ;;
    *)
        usermod -aG "$group" "$deployer"
        echo "added $deployer to the group $group"
        ;;
    esac
fi
