# For the scripts that run in the Debian of the tests: sourced.

say() { echo "packages: $*"; }
fail() {
	echo "packages: FAILED: $*"
	exit 1
}

# must WORDS... : runs a command that must succeed; shows its output only if it fails.
must() {
	"$@" >/tmp/said 2>&1 || fail "$*: exit code $?: $(cat /tmp/said)"
}

# gives CODE PATTERN WORDS... : runs a command that must exit with CODE and print a line that matches PATTERN.
gives() {
	local expected=$1 pattern=$2 code=0
	shift 2
	"$@" >/tmp/said 2>/tmp/errors || code=$?
	[ $code = "$expected" ] || fail "$*: exit code $code, not $expected: $(cat /tmp/said /tmp/errors)"
	grep -qE -e "$pattern" /tmp/said || fail "$*: no match of $pattern in: $(cat /tmp/said)"
}

# All files of this machine except those that every installation writes.
files() {
	find / -xdev \( -path /proc -o -path /run -o -path /tmp -o -path /root -o -path /packages -o -path /source -o -path /dev \) -prune -o -print |
		grep -v -e '^/var/lib/dpkg/' -e '^/var/log/' -e '^/var/cache/' -e '^/var/lib/apt/' -e '^/var/lib/systemd/deb-systemd' |
		sort
}

# --- A director and its real servers, all on this machine, whose kernel has IPVS ---

director() {
	ip link set lo up
	local address
	for address in 100 1 2; do ip addr add 10.9.9.$address/32 dev lo; done
	mkdir -p /srv/www
	echo "Test Page" >/srv/www/index.html
	busybox httpd -p 80 -h /srv/www
	cat >/etc/ha.d/ldirectord.cf <<-'END'
		checktimeout=2
		checkinterval=1
		quiescent=yes
		virtual=10.9.9.100:80
		    real=10.9.9.1:80 gate
		    real=10.9.9.2:80 gate 3
		    real=10.9.9.3:80 gate
		    service=http
		    request="index.html"
		    receive="Test Page"
		    scheduler=rr
	END
}
table() { ipvsadm -Sn | sed 's/^-a.*-r //; s/ -g -w / /; s/^-A.*/SERVICE/' | tr '\n' ' ' | sed 's/ *$//'; }
# becomes TABLE: waits up to 20 s for this table.
becomes() {
	local try
	for try in $(seq 100); do
		[ "$(table)" != "$1" ] || return 0
		sleep 0.2
	done
	fail "the table is '$(table)', not '$1' after $try attempts; $(tail -n 20 /var/log/ldirectord.log)"
}
up='SERVICE 10.9.9.1:80 1 10.9.9.2:80 3 10.9.9.3:80 0'

# Connections that the kernel has counted. The count of a recreated entry begins again at 0.
counted() { ipvsadm -Ln --stats --exact | awk '/->  *10/ {print $2, $3}'; }
ask() {
	local i
	for i in 1 2 3 4; do must busybox wget -q -O /dev/null http://10.9.9.100/; done
	# The kernel updates its counters every two seconds.
	sleep 3
}

# The number of log lines about writes: every write to the table has one.
writes() { grep -cE '(Added|Changed|Quiescent|Restored|Deleted|Purged|[Rr]epaired)' /var/log/ldirectord.log || true; }
pid() { head -n 1 "/run/ldirectord.$1.pid"; }
program() { readlink "/proc/$(pid "$1")/exe"; }
