# Looks whether programs can be run in a session of their own here. Replies: `ready`, `missing <tool>`.
for tool in setsid flock awk dd; do
    command -v "$tool" > /dev/null || reply "missing $tool"
done
[ -r /proc/self/environ ] && [ -r /proc/sys/kernel/random/boot_id ] || reply "missing /proc"
reply ready
