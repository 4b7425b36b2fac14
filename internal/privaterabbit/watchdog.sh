# Keeps the port mapper of a RabbitMQ node for as long as the node's owner lives, and
# ends both when it is gone.
#
#   sh watchdog.sh FOLDER EPMD ARGUMENTS...
#
# Standard input is a pipe from the owner: its end says that the owner has closed the
# node or is dead. FOLDER, where node.pid names the node, is removed then.
folder=$1
shift

exec 5<&0 </dev/null
"$@" 5<&- &
epmd=$!
read -r line <&5
node=$(cat "$folder/node.pid" 2>/dev/null) && kill -9 "$node" 2>/dev/null
kill -9 "$epmd" 2>/dev/null
wait "$epmd" 2>/dev/null
# The node may still write while it dies.
for try in 1 2 3 4 5; do
	rm -rf "$folder" 2>/dev/null && break
	sleep 1
done
