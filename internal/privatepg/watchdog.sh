# Runs a PostgreSQL server for as long as its owner lives.
#
#   sh watchdog.sh FOLDER POSTGRES ARGUMENTS...
#
# FOLDER is removed when the owner died without stopping the server; it may be empty.
# Standard input is a pipe from the owner. A line: the owner wants the server stopped.
# Its end without a line: the owner is dead. Descriptor 3 is the lock of the server,
# 4 tells the owner, by closing, that the server's last process has ended.
folder=$1
shift

exec 5<&0 </dev/null
"$@" 5<&- &
server=$!
exec 4>&-

(
	exec 3>&-
	owner_died=3
	read -r line <&5 && owner_died=0
	trap 'kill $! 2>/dev/null; wait $!; exit $owner_died' TERM
	# Fast shutdown, immediate shutdown, and no more patience.
	for try in INT:20 QUIT:5 KILL:60; do
		sleep "${try#*:}" &
		kill -"${try%:*}" "$server"
		wait $!
	done
) &
watcher=$!

wait "$server"
kill "$watcher" 2>/dev/null
wait "$watcher"
if [ $? -eq 3 ] && [ -n "$folder" ]; then
	rm -rf "$folder"
fi
