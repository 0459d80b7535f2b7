#!/bin/bash
# Runs the daemon of one release with the command line of another release, in both directions: a package replaces the
# program of a running daemon. Uses an in-memory table and needs no privileges.
#
#   tests/upgrade-test.sh [COMMIT]    the other release (the end of stage one)
#
# Builds the other release once, from this repository, to upgrade/ in cargo's target folder.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
commit=${1:-88f9264}
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
old=$target/upgrade/$commit/debug/ldirectord-rs new=$target/debug/ldirectord-rs
place=$(mktemp -d)
program=$place/sbin/ldirectord-rs
export LDIRECTORD_RS_TABLE__BACKEND=memory LDIRECTORD_RS_PATHS__RUN=$place/run LDIRECTORD_RS_PATHS__HA=$place/ha.d
export OCF_RESKEY_configfile=$place/web.cf OCF_RESKEY_ldirectord=$program OCF_CHECK_LEVEL=10
tried=0

fail() {
	echo "upgrade: FAILED: $*" >&2
	cat "$place/said" "$place/log" >&2 || true
	exit 1
}

pid() { cat "$place/run/ldirectord.web.cf.pid" 2>/dev/null || true; }
# Whether a process runs; a zombie does not count.
lives() {
	local state
	state=$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null) && [ "${state:0:1}" != Z ]
}
clean() {
	# The lock of either release allows one daemon only, so it is the one in the pid file.
	[ -z "$(pid)" ] || kill -KILL "$(pid)" 2>/dev/null || true
	rm -rf "$place"
}
trap clean EXIT

# gives CODE COMMAND... : the command must exit with this code.
gives() {
	local expected=$1 code=0
	shift
	"$@" >"$place/said" 2>&1 || code=$?
	[ $code = "$expected" ] || fail "$from, then $to: $*: exit code $code, not $expected"
	tried=$((tried + 1))
}

# install_program PROGRAM: replaces the program, which may be running, as a package does.
install_program() {
	cp "$1" "$program.new"
	mv "$program.new" "$program"
}

# begin FROM TO: starts the daemon of one release, and then installs the program of the other.
begin() {
	rm -rf "$place/run" "$place/log"
	mkdir -p "$place/run"
	install_program "${!1}"
	gives 0 "$program" "$place/web.cf" start
	install_program "${!2}"
	gives 0 "$program" "$place/web.cf" status
	grep -q "is running with pid: $(pid)" "$place/said" || fail "$from, then $to: status: $(cat "$place/said")"
}

[ -e "$old" ] || {
	git cat-file -e "$commit^{commit}" 2>/dev/null || {
		echo "upgrade: commit $commit is not in this clone; fetch all of its history (git fetch --unshallow)" >&2
		exit 1
	}
	mkdir -p "$target/upgrade/source"
	git archive "$commit" | tar -x -C "$target/upgrade/source"
	(cd "$target/upgrade/source" && CARGO_TARGET_DIR=$target/upgrade/$commit cargo build --locked --bin ldirectord-rs)
	rm -rf "$target/upgrade/source"
}
cargo build --bin ldirectord-rs

mkdir -p "$place/sbin" "$place/ha.d"
printf 'checkinterval=1\nlogfile="%s"\nvirtual=192.0.2.1:80\n\treal=127.0.0.1:1 masq\n\tchecktype=on\n' "$place/log" >"$place/web.cf"

for pair in "old new" "new old"; do
	read -r from to <<<"$pair"
	begin "$from" "$to"
	gives 0 "$program" show "$place/web.cf"
	grep -q 127.0.0.1:1 "$place/said" || fail "$from, then $to: show: $(cat "$place/said")"
	gives 0 "$program" show "$place/web.cf" --json
	gives 0 packaging/ocf/ldirectord-rs monitor
	gives 0 "$program" "$place/web.cf" reload
	gives 0 "$program" "$place/web.cf" start
	before=$(pid)
	gives 0 "$program" "$place/web.cf" restart
	[ "$(pid)" != "$before" ] || fail "$from, then $to: the daemon is the same after a restart"
	! lives "$before" || fail "$from, then $to: the daemon before the restart still runs"
	cmp -s "/proc/$(pid)/exe" "${!to}" || fail "$from, then $to: another program runs after the restart"
	gives 0 packaging/ocf/ldirectord-rs monitor
	gives 0 "$program" "$place/web.cf" stop
	gives 3 "$program" "$place/web.cf" status
	begin "$from" "$to"
	before=$(pid)
	gives 0 "$program" "$place/web.cf" stop
	! lives "$before" || fail "$from, then $to: the daemon still runs after a stop"
	gives 7 packaging/ocf/ldirectord-rs monitor
	begin "$from" "$to"
	gives 0 packaging/ocf/ldirectord-rs stop
	gives 3 "$program" "$place/web.cf" status
done
echo "upgrade: passed, $tried commands of two releases"
