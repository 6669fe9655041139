# How far a reload is: the workers there are, and what the error log has against it. PID_FILE ERROR_LOG SIZE
pid_file=$1 error_log=$2 size=$3
workers "$pid_file"
now=$(size_of "$error_log")
# A log that was rotated meanwhile is read from its beginning.
[ "$now" -ge "$size" ] || size=0
if [ "$now" -gt "$size" ]; then
    tail -c "+$((size + 1))" "$error_log" | grep -F '[emerg]' | tail -n 20 | sed 's/^/log /'
fi
exit 0
