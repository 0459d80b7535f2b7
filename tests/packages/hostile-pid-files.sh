#!/bin/bash
# Tests the scripts that root runs against a pid file and a process of an unprivileged user: nothing in these becomes a
# command of root, and no process of another user gets a signal. Run as root, in new mount and pid namespaces.
#
#   unshare --mount --pid --fork --mount-proc tests/packages/hostile-pid-files.sh
set -euo pipefail

source=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
user=65534
"$source/tests/overlay-host.sh" --hide
place=$(mktemp -d /run/hostile.XXXXXX)
chmod 755 "$place"
calls=$place/calls
file=/run/ldirectord.web.cf.pid

fail() {
	echo "hostile: FAILED: $*"
	exit 1
}

# Programs that record their user and their arguments.
for name in ldirectord ldirectord-rs; do
	printf '#!/bin/sh\necho "$(id -u) ${0##*/} $* ${LDIRECTORD_RS_TRICK-}" >>%s\n' "$calls" >/usr/sbin/$name
	chmod 755 /usr/sbin/$name
done
printf '#!/bin/sh\nexit 3\n' >/usr/local/bin/cibadmin
chmod 755 /usr/local/bin/cibadmin

# begin UID PATH SCRIPT WORD... : starts a process and then replaces its program, as an upgrade does; sets `pid`.
begin() {
	local uid=$1 path=$2 script=$3
	shift 3
	mkdir -p "${path%/*}"
	[ ! -e "$path" ] || mv "$path" "$path.stub"
	cp /usr/bin/perl "$path"
	LDIRECTORD_RS_TRICK=trick setpriv --reuid "$uid" --regid "$uid" --clear-groups "$path" "-e$script" "$@" &
	pid=$!
	until [ -e "$place/ready" ]; do sleep 0.05; done
	rm "$path" "$place/ready"
	[ ! -e "$path.stub" ] || mv "$path.stub" "$path"
}
ready="open(my \$f, '>', '$place/ready'); close \$f;"
chmod 777 "$place"

# all : runs every script that reads pid files.
all() {
	: >"$calls"
	rm -rf /run/systemd
	for action in restart stop; do "$source/packaging/daemons" $action >>"$place/said" 2>&1 || true; done
	for action in to-rs to-perl; do "$source/packaging/ldirectord-rs-switch" $action >>"$place/said" 2>&1 || true; done
}
# ignored WHAT : the scripts must call nothing.
ignored() {
	all
	[ ! -s "$calls" ] || fail "$1: root ran: $(cat "$calls")"
}
hostile() { # the content of the pid file
	rm -f "$file"
	echo "$1" >"$file"
	chown $user "$file"
}

mkdir "$place/fake"
printf 'Uid:\t0\t0\t0\t0\n' >"$place/fake/status"
printf '/usr/sbin/ldirectord-rs\0evil.cf\0start\0' >"$place/fake/cmdline"
: >"$place/fake/environ"
ln -s "/usr/sbin/ldirectord-rs (deleted)" "$place/fake/exe"
hostile "..$place/fake"
ignored "a folder that looks like one of /proc"
hostile "../proc/self"
ignored "another path"

begin $user /usr/sbin/ldirectord-rs "$ready sleep 1000" evil.cf start
hostile $pid
: >"$place/said"
ignored "a process of the user with our name"
! kill -0 $pid 2>/dev/null || { kill $pid; fail "stop did not end the daemon of the user: $(cat "$place/said")"; }

# Its files in /proc belong to root.
begin $user "$place/bin/ldirectord-rs" "syscall(157, 4, 0, 0, 0, 0) == 0 or die; $ready sleep 1000" evil.cf start
[ "$(stat -c %u "/proc/$pid/status")" = 0 ] || fail "the process is dumpable"
hostile $pid
ignored "a process that is not dumpable"
kill -KILL $pid 2>/dev/null || true

begin $user "$place/bin/ldirectord" "$ready sleep 1000" /usr/sbin/ldirectord evil.cf start
hostile $pid
ignored "a process of the user with the name of the original"
kill $pid

# Pids of other users' processes.
begin 0 "$place/bin/editor" "$ready sleep 1000" /etc/ha.d/ldirectord.cf
others=$pid
begin 2 /usr/sbin/ldirectord-rs "$ready sleep 1000" evil.cf start
for other in $others $pid 1; do
	hostile "$other"
	ignored "pid $other"
	kill -0 "$other" || fail "the pid file of a user ended pid $other"
done
kill $others $pid

begin 0 /usr/sbin/ldirectord-rs "$ready sleep 1000" web.cf start
rm -f "$file"
echo $pid >"$file"
: >"$calls"
"$source/packaging/daemons" restart || fail "restart of root's daemon"
[ "$(cat "$calls")" = "0 ldirectord-rs -e$ready sleep 1000 web.cf restart trick" ] || fail "root's daemon: $(cat "$calls")"
kill $pid

# A configuration may have the name of an action.
begin 0 /usr/sbin/ldirectord-rs "$ready sleep 1000" start start
echo $pid >"$file"
: >"$calls"
"$source/packaging/daemons" restart || fail "restart of the daemon of the file start"
[ "$(cat "$calls")" = "0 ldirectord-rs -e$ready sleep 1000 start restart trick" ] ||
	fail "the daemon of the file start: $(cat "$calls")"
kill $pid

# Options may follow the action.
begin 0 /usr/sbin/ldirectord-rs "$ready sleep 1000" web.cf start --table memory
echo $pid >"$file"
: >"$calls"
"$source/packaging/daemons" restart || fail "restart of root's daemon with an option after the action"
[ "$(cat "$calls")" = "0 ldirectord-rs -e$ready sleep 1000 web.cf restart --table memory trick" ] ||
	fail "root's daemon with an option after the action: $(cat "$calls")"
kill $pid

echo "$ready sleep 1000" >"$place/web.cf"
cp /usr/bin/perl "$place/bin/ldirectord-rs"
"$place/bin/ldirectord-rs" "$place/web.cf" start --table memory &
pid=$!
until [ -e "$place/ready" ]; do sleep 0.05; done
echo $pid >"$file"
plan=$("$source/packaging/ldirectord-rs-switch" plan to-perl)
[[ $plan == *"then: ldirectord $place/web.cf start"* ]] || fail "a switch with an option after the action: $plan"
kill $pid
echo "hostile: passed"
