#!/bin/bash
# Runs the unit of the distribution under a real systemd, as process 1 of its own namespaces, and records the result of
# each step as NAME=VALUE. Only for a machine whose files are thrown away afterwards.
#
#   systemd.sh BINARY UNIT      results go to standard output, systemd's messages to standard error
set -euo pipefail
binary=$1 unit=$2

install -D -m 755 "$binary" /usr/sbin/ldirectord-rs
install -D -m 644 "$unit" /etc/systemd/system/ldirectord-rs.service
getent passwd ldirectord-rs >/dev/null ||
	echo 'ldirectord-rs:x:731:731::/nonexistent:/usr/sbin/nologin' >>/etc/passwd
getent group ldirectord-rs >/dev/null || echo 'ldirectord-rs:x:731:' >>/etc/group
mkdir -p /etc/ha.d /etc/systemd/system/ldirectord-rs.service.d
# Only root can read it; the daemon gets it from systemd.
(umask 077 && echo hidden >/etc/ldap.password)
printf '[Service]\nLoadCredential=ldap:/etc/ldap.password\nStandardError=append:/usr/local/noted.daemon\n' \
	>/etc/systemd/system/ldirectord-rs.service.d/credential.conf
cat >/usr/local/bin/checked <<-'END'
	#!/bin/sh
	while read -r line; do echo "$line"; done </proc/self/status >/run/ldirectord-rs/command
END
chmod 755 /usr/local/bin/checked
cat >/etc/ha.d/ldirectord.cf <<-'END'
	checkinterval=1
	checktimeout=20
	quiescent=yes
	virtual=10.0.0.1:80
	        real=127.0.0.1:80 masq
	        checktype=external
	        checkcommand=/usr/local/bin/checked
	        #rs: passwdfile="credential:ldap"
	virtual=10.0.0.1:81
	        real=127.0.0.1:81 masq
	        checktype=ping
END

cat >/usr/local/bin/steps <<-'END'
	#!/bin/bash
	exec >/usr/local/noted 2>/usr/local/noted.err
	note() { echo "$1=$2"; }
	main() { systemctl show --property MainPID --value ldirectord-rs; }
	field() { sed -n "s/^$1:[[:space:]]*\([^[:space:]]*\).*/\1/p" "$2"; }
	services() { ipvsadm -Sn | grep -c -e '^-A'; }
	up() { for _ in $(seq 600); do [ "$(ipvsadm -Sn | grep -c -e '-w 1$')" = 2 ] && return; sleep 0.1; done; return 1; }
	# As systemd does outside a container. Otherwise the credentials that it mounts do not leave their mount namespace.
	mount --make-rshared /
	systemctl start ldirectord-rs
	note start $?
	up
	note up $?
	note user "$(stat -c %U /proc/$(main))"
	note capabilities "$(field CapPrm /proc/$(main)/status)"
	note command "$(field CapPrm /run/ldirectord-rs/command) $(field CapBnd /run/ldirectord-rs/command)"
	ldirectord-rs status 2>/dev/null
	note status $?
	ldirectord-rs show >/dev/null
	note show $?
	systemctl reload ldirectord-rs
	note reload $?
	before=$(main)
	cp /etc/ha.d/ldirectord.cf /tmp/good.cf
	echo nonsense >>/etc/ha.d/ldirectord.cf
	systemctl reload ldirectord-rs
	note bad-reload $?
	note unharmed "$([ "$before" = "$(main)" ] && grep -c 'was not reloaded' /var/log/ldirectord.log)"
	cp /tmp/good.cf /etc/ha.d/ldirectord.cf
	note status-line "$(systemctl show --property StatusText --value ldirectord-rs)"
	systemctl restart ldirectord-rs
	note restart $?
	note replaced $([ "$before" != "$(main)" ] && echo yes)
	before=$(main)
	kill -KILL "$before"
	for _ in $(seq 600); do after=$(main); [ "$after" != 0 ] && [ "$after" != "$before" ] && break; sleep 0.1; done
	systemctl is-active --quiet ldirectord-rs || systemctl start ldirectord-rs
	note crashed $([ "$before" != "$(main)" ] && echo replaced)
	note services "$(services)"
	note place "$(grep -c -e '^boot .' /run/ldirectord-rs/*.services)"
	note added "$(grep -c 'Added virtual server' /var/log/ldirectord.log)"
	# The command asks systemd, which would take an end of the daemon by other means for a failure.
	before=$(main)
	ldirectord-rs restart 2>/tmp/said
	note own-restart "$? $(cat /tmp/said >&2; [ "$before" != "$(main)" ] && systemctl is-active ldirectord-rs) $(grep -c RestartKillSignal /tmp/said)"
	# An operator's own unit may restart with a full stop.
	mkdir -p /run/systemd/system/ldirectord-rs.service.d
	printf '[Service]\nRestartKillSignal=SIGTERM\n' >/run/systemd/system/ldirectord-rs.service.d/restart.conf
	systemctl daemon-reload
	ldirectord-rs restart 2>/tmp/said
	note ending-restart "$? $(cat /tmp/said >&2; grep -c RestartKillSignal=SIGUSR2 /tmp/said)"
	rm -r /run/systemd/system/ldirectord-rs.service.d
	systemctl daemon-reload
	before=$(main)
	echo nonsense >>/etc/ha.d/ldirectord.cf
	ldirectord-rs restart
	note own-bad-restart "$? $([ "$before" = "$(main)" ] && echo unharmed)"
	ldirectord-rs reload
	note own-bad-reload "$? $([ "$before" = "$(main)" ] && echo unharmed)"
	ldirectord-rs stop
	note own-bad-stop "$? $([ "$before" = "$(main)" ] && echo unharmed)"
	# systemd ends the daemon without a check of the file. The unit starts again when the file is valid.
	systemctl restart ldirectord-rs
	note careless-restart "$? $(services)"
	# The unit retries again and again. A stop ends that, and the table is cleaned up.
	for _ in $(seq 600); do [ "$(systemctl show --property SubState --value ldirectord-rs)" = auto-restart ] && break; sleep 0.1; done
	ldirectord-rs stop 2>/tmp/said
	note waiting-stop "$? $(systemctl is-active ldirectord-rs) $(services) $(grep -c 'waits for its next start' /tmp/said)"
	systemctl start --no-block ldirectord-rs
	for _ in $(seq 600); do [ "$(systemctl show --property SubState --value ldirectord-rs)" = auto-restart ] && break; sleep 0.1; done
	cp /tmp/good.cf /etc/ha.d/ldirectord.cf
	for _ in $(seq 600); do systemctl is-active --quiet ldirectord-rs && break; sleep 0.1; done
	note repaired "$(systemctl is-active ldirectord-rs) $(services)"
	before=$(main)
	kill -KILL "$before"
	for _ in $(seq 100); do [ "$(systemctl show --property SubState --value ldirectord-rs)" = auto-restart ] && break; sleep 0.1; done
	ldirectord-rs restart 2>/tmp/said
	note waiting-restart "$? $(systemctl is-active ldirectord-rs) $(services)"
	ldirectord-rs reload
	note own-reload $?
	ldirectord-rs stop
	note own-stop "$? $(systemctl is-active ldirectord-rs) $(services)"
	systemctl start ldirectord-rs
	systemctl stop ldirectord-rs
	note stop $?
	note left "$(services)"
	ldirectord-rs status >/dev/null 2>&1
	note stopped $?
	systemctl exit 0
END
chmod 755 /usr/local/bin/steps
cat >/etc/systemd/system/steps.service <<-'END'
	[Unit]
	After=basic.target
	[Service]
	Type=oneshot
	ExecStart=/usr/local/bin/steps
END
cat >/etc/systemd/system/steps.target <<-'END'
	[Unit]
	Requires=basic.target
	Wants=steps.service
	After=steps.service
END

# There are no devices to wait for. Temporary files stay, because the root is a share of another machine.
for name in systemd-udevd.service systemd-udev-trigger.service systemd-udev-settle.service systemd-networkd-wait-online.service \
	systemd-random-seed.service systemd-tmpfiles-setup.service systemd-binfmt.service systemd-journal-flush.service; do
	ln -sf /dev/null "/etc/systemd/system/$name"
done
ip link set lo up
mount -t cgroup2 cgroup2 /sys/fs/cgroup 2>/dev/null || true
rc=0
container=lab timeout --kill-after=5 200 unshare --kill-child --pid --ipc --uts --cgroup --mount --fork --mount-proc \
	/lib/systemd/systemd --system --unit=steps.target --log-target=console >&2 || rc=$?
echo "systemd ended with $rc" >&2
tail -n 40 /usr/local/noted.err /usr/local/noted.daemon /var/log/ldirectord.log >&2 || true
cat /usr/local/noted
