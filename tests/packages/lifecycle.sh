#!/bin/bash
# Tests the effect of the packages on a running director, on a machine with IPVS.
set -euo pipefail
. /source/tests/packages/common.sh
old=$(echo /packages/ldirectord-rs_[!9]*.deb) new=$(echo /packages/ldirectord-rs_9*.deb)

director

say "installed; nothing runs"
files >/tmp/before
must dpkg -i "$old"
[ -z "$(table)" ] || fail "a table without a start"
resource=/etc/ha.d/resource.d/ldirectord-rs
gives 3 '^stopped$' $resource ldirectord.cf status
gives 3 'stopped' service ldirectord-rs status

say "init script: start, status, reload, stop"
must service ldirectord-rs start
becomes "$up"
gives 0 'running' service ldirectord-rs status
gives 0 '^running$' $resource ldirectord.cf status
sed -i 's/gate 3/gate 5/' /etc/ha.d/ldirectord.cf
must service ldirectord-rs reload
becomes "${up/80 3/80 5}"
sed -i 's/gate 5/gate 3/' /etc/ha.d/ldirectord.cf
must service ldirectord-rs reload
becomes "$up"
must service ldirectord-rs stop
becomes ''

say "heartbeat's resource script, Pacemaker's agent"
must $resource ldirectord.cf start
becomes "$up"
must $resource ldirectord.cf stop
becomes ''
agent=/usr/lib/ocf/resource.d/heartbeat/ldirectord-rs
must $agent start
becomes "$up"
must env OCF_CHECK_LEVEL=10 $agent monitor
must $agent stop
becomes ''

say "an upgrade while two daemons run: no write, no connection counter is reset"
must service ldirectord-rs start
sed 's/10.9.9.100:80/10.9.9.100:81/; s/:80 gate.*/:80 masq/' /etc/ha.d/ldirectord.cf >"/root/my own.cf"
must env LDIRECTORD_RS_LOG__LEVEL=debug ldirectord-rs "/root/my own.cf" start
both="$up SERVICE $(echo 10.9.9.{1,2}:80\ -m\ -w\ 1) 10.9.9.3:80 -m -w 0"
becomes "$both"
ask
counts=$(counted) lines=$(writes) first=$(pid ldirectord.cf) second=$(pid "my own.cf")
[ "$(awk '{sum += $2} END {print sum}' <<<"$counts")" = 4 ] || fail "four connections were made: $counts"
must dpkg -i "$new"
[ "$(table)" = "$both" ] || fail "the table after the upgrade: $(table)"
[ "$(counted)" = "$counts" ] || fail "connections were $counts, now $(counted)"
[ "$(writes)" = "$lines" ] || fail "the upgrade wrote: $(tail -n 20 /var/log/ldirectord.log)"
[ "$(pid ldirectord.cf)" != "$first" ] && [ "$(pid "my own.cf")" != "$second" ] || fail "the old daemons still run"
for name in ldirectord.cf "my own.cf"; do
	[ "$(program "$name")" = /usr/sbin/ldirectord-rs ] || fail "$name runs with $(program "$name")"
done
grep -qz '^LDIRECTORD_RS_LOG__LEVEL=debug$' "/proc/$(pid "my own.cf")/environ" || fail "a setting was lost"
must ldirectord-rs "/root/my own.cf" stop
becomes "$up"

say "an upgrade with a broken configuration: the old daemon continues"
cp /etc/ha.d/ldirectord.cf /tmp/good.cf
echo nonsense >>/etc/ha.d/ldirectord.cf
first=$(pid ldirectord.cf)
must dpkg -i "$new"
[ "$(pid ldirectord.cf)" = "$first" ] || fail "the daemon was ended"
cp /tmp/good.cf /etc/ha.d/ldirectord.cf
must service ldirectord-rs restart
[ "$(table)" = "$up" ] && [ "$(counted)" = "$(head -n 3 <<<"$counts")" ] || fail "a restart by hand: $(table) $(counted)"

say "no switch with a broken configuration"
echo nonsense >>/etc/ha.d/ldirectord.cf
first=$(pid ldirectord.cf)
! ldirectord-rs-switch to-perl 2>/tmp/errors || fail "it switched"
grep -q 'nothing was done: ldirectord does not accept' /tmp/errors || fail "its message: $(cat /tmp/errors)"
[ "$(pid ldirectord.cf)" = "$first" ] || fail "the daemon was ended"
cp /tmp/good.cf /etc/ha.d/ldirectord.cf

say "to the original and back: correct entries stay"
cat >/etc/ha.d/haresources <<'END'
# DR1 IPaddr::10.9.9.100/24/eth0 ldirectord-rs::ldirectord.cf
DR1 IPaddr::10.9.9.100/24/eth0 ldirectord-rs::ldirectord.cf ldirectord-rs
END
must update-rc.d ldirectord disable
must update-rc.d ldirectord-rs enable
ask
counts=$(counted)
must ldirectord-rs-switch to-perl
grep -q perl <<<"$(program ldirectord.cf)" || fail "$(program ldirectord.cf) runs"
gives 0 '^DR1 IPaddr::10.9.9.100/24/eth0 ldirectord::ldirectord.cf ldirectord$' cat /etc/ha.d/haresources
[ -e "$(echo /etc/rc2.d/S??ldirectord)" ] && [ -e "$(echo /etc/rc2.d/K??ldirectord-rs)" ] || fail "wrong programs start at boot"
# The original sets up the table after its start has returned.
sleep 10
becomes "$up"
[ "$(counted)" = "$counts" ] || fail "connections were $counts, now $(counted)"
lines=$(writes)
must ldirectord-rs-switch to-rs
[ "$(program ldirectord.cf)" = /usr/sbin/ldirectord-rs ] || fail "$(program ldirectord.cf) runs"
gives 0 '^DR1 IPaddr::10.9.9.100/24/eth0 ldirectord-rs::ldirectord.cf ldirectord-rs$' cat /etc/ha.d/haresources
[ -e "$(echo /etc/rc2.d/S??ldirectord-rs)" ] && [ -e "$(echo /etc/rc2.d/K??ldirectord)" ] || fail "wrong programs start at boot"
[ "$(table)" = "$up" ] && [ "$(counted)" = "$counts" ] || fail "the table after the switch: $(table), connections $(counted)"
[ "$(writes)" = "$lines" ] || fail "the switch wrote: $(tail -n 20 /var/log/ldirectord.log)"

say "from an original that has forked: its child processes end, too"
must ldirectord-rs-switch to-perl
sleep 10
must ldirectord ldirectord.cf stop
for try in $(seq 60); do [ -e /run/ldirectord.ldirectord.cf.pid ] || break && sleep 0.5; done
sed '1i fork=yes' /tmp/good.cf >/etc/ha.d/ldirectord.cf
must ldirectord ldirectord.cf start
for try in $(seq 60); do pgrep -f '^ldirectord tcp' >/dev/null && break || sleep 0.5; done
pgrep -f '^ldirectord tcp' >/dev/null || fail "it has not forked"
must ldirectord-rs-switch to-rs
! pgrep -f '^ldirectord tcp' || fail "its child processes still run"
becomes "$up"

say "removed: stopped; purged: gone"
must dpkg --remove ldirectord-rs
becomes ''
must dpkg --purge ldirectord-rs
[ -z "$(ls -d /run/ldirectord* 2>/dev/null)" ] || fail "left in /run: $(ls /run)"
rm /etc/ha.d/haresources
must update-rc.d ldirectord enable
files >/tmp/after
diff /tmp/before /tmp/after || fail "some files remain"
say "lifecycle: passed"
