#!/bin/bash
# Tests the effect of the packages on a director under systemd, on a machine with IPVS.
set -euo pipefail

if [ "${1-}" = steps ]; then
	. /source/tests/packages/common.sh
	old=$(echo /packages/ldirectord-rs_[!9]*.deb) new=$(echo /packages/ldirectord-rs_9*.deb)
	main() { systemctl show --property MainPID --value "$1"; }
	# right WHAT: the table, the counters and the log must be unchanged.
	right() {
		[ "$(table)" = "$up" ] && [ "$(counted)" = "$counts" ] || fail "$1: $(table), connections $(counted), not $counts"
		[ "$(writes)" = "$lines" ] || fail "$1: it wrote: $(tail -n 20 /var/log/ldirectord.log)"
	}
	export DEBIAN_FRONTEND=noninteractive
	director
	must systemctl disable --now ldirectord

	say "systemd: installed, not started, not enabled; started by hand"
	must dpkg -i "$old"
	! systemctl is-active --quiet ldirectord-rs || fail "it was started"
	! systemctl is-enabled --quiet ldirectord-rs || fail "it was enabled"
	must systemctl enable --now ldirectord-rs
	becomes "$up"
	[ "$(stat -c %U "/proc/$(main ldirectord-rs)")" = ldirectord-rs ] || fail "it runs as root"
	ask
	counts=$(counted) lines=$(writes) before=$(main ldirectord-rs)

	say "systemd: an upgrade while it runs"
	must dpkg -i "$new"
	[ "$(main ldirectord-rs)" != "$before" ] || fail "the old daemon still runs"
	# It has mounts of its own, so the path may begin elsewhere; the file must still exist.
	gives 0 '/usr/sbin/ldirectord-rs$' readlink "/proc/$(main ldirectord-rs)/exe"
	right "after the upgrade"

	say "systemd: an upgrade with a broken configuration: the old daemon continues"
	cp /etc/ha.d/ldirectord.cf /tmp/good.cf
	echo nonsense >>/etc/ha.d/ldirectord.cf
	before=$(main ldirectord-rs)
	must dpkg -i "$new"
	[ "$(main ldirectord-rs)" = "$before" ] || fail "the daemon was ended"
	cp /tmp/good.cf /etc/ha.d/ldirectord.cf

	say "systemd: to the original and back"
	# The original's unit needs it.
	mkdir -p /run/lock/subsys
	must ldirectord-rs-switch to-perl
	systemctl is-enabled --quiet ldirectord && ! systemctl is-enabled --quiet ldirectord-rs || fail "wrong units are enabled"
	systemctl is-active --quiet ldirectord && ! systemctl is-active --quiet ldirectord-rs || fail "wrong units are active"
	sleep 10
	becomes "$up"
	[ "$(counted)" = "$counts" ] || fail "connections were $counts, now $(counted)"
	lines=$(writes)
	gives 0 '^ldirectord: installed, started at boot$' ldirectord-rs-switch status
	gives 0 'without changing the table; then: systemctl start ldirectord-rs$' ldirectord-rs-switch plan
	[ "$(systemctl is-enabled ldirectord)" = enabled ] || fail "the plan changed something"
	must ldirectord-rs-switch to-rs
	[ "$(systemctl is-enabled ldirectord-rs)" = enabled ] || fail "wrong units are enabled"
	systemctl is-active --quiet ldirectord-rs || fail "wrong units are active"
	right "after the switch"
	# The name of the original's unit is an alias of ours.
	[ "$(main ldirectord)" = "$(main ldirectord-rs)" ] || fail "ldirectord.service is not ours"
	gives 0 '^ldirectord-rs.service$' systemctl show --property Id --value ldirectord

	say "systemd: operator commands: the plan names them, and --root-commands runs them as root"
	must ldirectord-rs-switch to-perl
	[ ! -L /etc/systemd/system/ldirectord.service ] || fail "the alias remains"
	[ "$(systemctl is-enabled ldirectord)" = enabled ] || fail "ldirectord is not enabled after the switch back"
	sleep 10
	sed -i 's/^    scheduler=rr/&\n    fallbackcommand="\/bin\/true"/' /etc/ha.d/ldirectord.cf
	line=$(grep -n fallbackcommand /etc/ha.d/ldirectord.cf | cut -d : -f 1)
	ldirectord-rs-switch plan >/dev/null 2>/tmp/warned || fail "plan: $(cat /tmp/warned)"
	gives 0 "^  /etc/ha.d/ldirectord.cf:$line: *fallbackcommand=" cat /tmp/warned
	gives 0 '^ldirectord-rs-switch: warning: .*--root-commands$' cat /tmp/warned
	must ldirectord-rs-switch to-rs --root-commands
	[ "$(stat -c %U "/proc/$(main ldirectord-rs)")" = root ] || fail "it does not run as root"
	must ldirectord-rs status
	must systemctl restart ldirectord-rs
	becomes "$up"

	say "systemd: removed and purged"
	must dpkg --remove ldirectord-rs
	becomes ''
	must dpkg --purge ldirectord-rs
	[ -z "$(find /etc/systemd /run/systemd/system /var/lib/systemd -name 'ldirectord-rs*')" ] || fail "files of its unit remain"
	[ ! -L /etc/systemd/system/ldirectord.service ] || fail "the alias of the original's unit remains"
	say "systemd: passed"
	exit 0
fi

cat >/etc/systemd/system/steps.service <<-'END'
	[Unit]
	After=basic.target
	[Service]
	Type=oneshot
	Environment=HOME=/root LC_ALL=C.UTF-8
	StandardOutput=file:/var/steps
	StandardError=inherit
	ExecStart=/source/tests/packages/systemd.sh steps
	ExecStopPost=/bin/systemctl exit 0
END
cat >/etc/systemd/system/steps.target <<-'END'
	[Unit]
	Requires=basic.target
	Wants=steps.service
END
# There are no devices to wait for, and no logins.
for name in systemd-udevd.service systemd-udev-trigger.service systemd-udev-settle.service systemd-firstboot.service \
	systemd-random-seed.service systemd-hwdb-update.service systemd-tmpfiles-setup.service systemd-binfmt.service \
	systemd-journal-flush.service; do
	ln -sf /dev/null "/etc/systemd/system/$name"
done
mount -t cgroup2 cgroup2 /sys/fs/cgroup 2>/dev/null || true
rc=0
container=lab timeout --kill-after=5 800 unshare --kill-child --pid --ipc --uts --cgroup --mount --fork --mount-proc \
	/lib/systemd/systemd --system --unit=steps.target --log-target=console >/tmp/systemd.log 2>&1 || rc=$?
cat /var/steps
tail -n 1 /var/steps | grep -q 'systemd: passed$' || {
	echo "packages: systemd ended with $rc"
	tail -n 60 /tmp/systemd.log
	exit 1
}
