#!/bin/sh
# Installs what the make targets need and this machine lacks, through its package manager.
#
#   sh scripts/ensure.sh THING...      postgres, rabbitmq, node (with npm), cc (for go test -race), make
#
# Root, and whoever may use sudo without a password, gets it installed. Others get the one
# command to run, and exit code 1. Of PostgreSQL, RabbitMQ and PgBouncer only the programs
# are wanted: no system server is made or started.
set -eu

has_postgres() {
	for dir in "${TASKER_PG_BIN:-}" "$(pg_config --bindir 2>/dev/null || :)" \
		/usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/libexec/postgresql* \
		/opt/homebrew/opt/postgresql*/bin /usr/local/opt/postgresql*/bin \
		/home/linuxbrew/.linuxbrew/opt/postgresql*/bin \
		"$(dirname "$(command -v postgres || echo /none/postgres)")"; do
		[ -x "$dir/initdb" ] && [ -x "$dir/postgres" ] || continue
		version=$("$dir/postgres" --version | sed 's/.*(PostgreSQL) \([0-9]*\).*/\1/')
		[ "$version" -ge 15 ] && return 0
	done
	return 1
}

has_rabbitmq() {
	command -v epmd >/dev/null || return 1
	for dir in "${TASKER_RABBITMQ_HOME:-/none}" /usr/lib/rabbitmq/lib/rabbitmq_server-* /opt/rabbitmq \
		/opt/homebrew/opt/rabbitmq /usr/local/opt/rabbitmq; do
		[ -f "$dir/sbin/rabbitmq-server" ] && return 0
	done
	return 1
}

has_cc() {
	[ "$(uname)" = Darwin ] && return 0 # there the race detector needs no C compiler
	echo '#include <stdlib.h>' | gcc -fsyntax-only -x c - 2>/dev/null
}

has_node() {
	command -v npm >/dev/null && [ "$(node -p 'process.versions.node.split(".")[0]')" -ge 18 ]
}

has_make() { command -v make >/dev/null; }

# packages MANAGER THING prints the packages that hold the thing.
packages() {
	case $1:$2 in
	apt-get:postgres | pacman:postgres) echo postgresql ;;
	brew:postgres) echo postgresql@17 ;;
	dnf:postgres | zypper:postgres) echo postgresql-server postgresql-contrib ;;
	apk:postgres) echo postgresql postgresql-contrib ;;
	apk:rabbitmq) echo rabbitmq-server erlang ;;
	brew:rabbitmq | pacman:rabbitmq) echo rabbitmq ;;
	*:rabbitmq) echo rabbitmq-server ;;
	apt-get:cc) echo gcc libc6-dev ;;
	dnf:cc | zypper:cc) echo gcc glibc-devel ;;
	apk:cc) echo gcc musl-dev ;;
	*:cc) echo gcc ;;
	brew:node) echo node ;;
	*:node) echo nodejs npm ;;
	*:make) echo make ;;
	esac
}

manager() {
	for m in brew apt-get dnf apk pacman zypper; do
		command -v $m >/dev/null && echo $m && return
	done
	echo "install by hand, since no known package manager is here: $*" >&2
	return 1
}

# install MANAGER PACKAGE...
install() {
	m=$1
	shift
	case $m in
	brew) brew install "$@" ;;
	apt-get)
		# Debian's packages make and start servers of their own unless told not to.
		conf=/etc/postgresql-common/createcluster.d/tasker.conf
		mkdir -p "$(dirname $conf)"
		trap 'exit 130' INT TERM
		policy=/usr/sbin/policy-rc.d
		[ -e $policy ] && policy=/dev/null # the machine has its own
		trap 'rm -f $conf; [ $policy = /dev/null ] || rm -f $policy; rmdir -p "$(dirname $conf)" 2>/dev/null || :' EXIT
		echo 'create_main_cluster = false' >$conf
		echo '#!/bin/sh
exit 101' >$policy
		[ $policy = /dev/null ] || chmod 755 $policy
		apt-get update -q || echo "going on with the package lists at hand" >&2
		DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
		;;
	dnf) dnf install -y "$@" ;;
	apk) apk add "$@" ;;
	pacman) pacman -S --noconfirm --needed "$@" ;;
	zypper) zypper --non-interactive install "$@" ;;
	esac
}

missing=
for thing in "$@"; do
	"has_$thing" || missing="$missing $thing"
done
[ -z "$missing" ] && exit 0

# shellcheck disable=SC2086 # these are lists of words
m=$(manager $missing)
if [ "$m" != brew ] && [ "$(id -u)" -ne 0 ]; then
	script=$(cd "$(dirname "$0")" && pwd)/ensure.sh
	if sudo -n true 2>/dev/null; then
		# shellcheck disable=SC2086
		exec sudo -n sh "$script" $missing
	fi
	echo "missing here:$missing; install with: sudo sh $script$missing" >&2
	exit 1
fi

wanted=
for thing in $missing; do
	wanted="$wanted $(packages "$m" "$thing")"
done
echo "installing$wanted with $m" >&2
# shellcheck disable=SC2086
install "$m" $wanted >&2

for thing in $missing; do
	"has_$thing" || {
		echo "$thing is still missing after installing$wanted" >&2
		exit 1
	}
done
