look
echo "$state"
