// Package privatepg runs a PostgreSQL server of one's own: for dev, the demo
// and the tests.
//
// [Find] finds the programs of PostgreSQL 15 or newer; it never downloads any.
// [Start] makes a data folder where there is none, starts the server and
// returns a [Server], which knows its URLs. Start reading there.
//
// # Who runs it
//
// PostgreSQL refuses to run as root. Started by root, the server runs as the
// user postgres, or nobody where there is none; a data folder that another
// user owns is served as that user. Nothing goes through su or sudo.
//
// # Who may connect
//
// The server listens on a Unix socket in a folder that only its user and root
// may enter, and lets everyone in who gets that far. It has one role, the
// superuser [Role], and one database, [Database]. There is nothing on TCP
// unless [Options.Listen] asks for it; there, a password is needed.
//
// # When it ends
//
// A server does not outlive its owner, the process that started it. Between
// the two sits a small shell script (watchdog.sh), which holds the other end of a
// pipe from the owner: when the owner is gone, be it by kill -9, the pipe ends
// and the script stops the server and removes a throw-away folder. What even
// this misses, the next Start of a throw-away server sweeps up.
//
// Two locks in the folder say who is alive, and the kernel drops them with
// the last process that holds them: owner.lock belongs to the owner alone,
// server.lock also to every process of the server. So whoever has both knows
// that nothing of an earlier server is left, whatever its postmaster.pid says.
package privatepg
