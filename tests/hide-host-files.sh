#!/bin/sh
# Creates two layers for an overlay that hide an operator's own files: logs, configurations of ldirectord, of cluster
# managers and of servers, accounts, units, crontabs, names. A test then sees the same machine everywhere. Needs root;
# the shell may be busybox.
#
#   tests/hide-host-files.sh ROOT LAYERS [KEEP...]
#
# LAYERS/gone has a whiteout (a device 0:0) for each path of the list that exists below ROOT, LAYERS/new the files that
# replace them: lowerdir=LAYERS/new:LAYERS/gone:ROOT. Each KEEP stays visible, wherever it is.
set -eu

root=${1%/} layers=$2
shift 2

servers='mysql postgresql postgresql-common ldap dovecot vsftpd* ftpusers exim4 dnsmasq* bind freeradius nginx tinyproxy
	squid news kamailio proftpd smtpd* postfix aliases* mail'
managers='ha.d heartbeat pacemaker corosync keepalived drbd* pcsd'

list() {
	local name
	for name in ldirectord* $managers $servers; do
		echo "etc/$name" "var/lib/$name"
	done
	for name in ldirectord* heartbeat pacemaker corosync keepalived ipvsadm; do
		echo "etc/default/$name" "etc/init.d/$name" "usr/lib/systemd/system/$name*"
	done
	for name in rc?.d cron* crontab anacrontab logrotate.d systemd/system systemd/*.conf.d ipvsadm.rules sysctl.conf sysctl.d \
		modules-load.d modprobe.d tmpfiles.d udev network iptables nftables.conf fstab crypttab environment ld.so.preload \
		hosts hostname resolv.conf nsswitch.conf passwd* group* shadow* gshadow* subuid* subgid* sudoers*; do
		echo "etc/$name"
	done
	for name in log spool mail cache crash backups lib/systemd lib/private lib/logrotate lib/NetworkManager lib/dhcp*; do
		echo "var/$name"
	done
	echo "usr/sbin/ldirectord*" "usr/local/sbin/ldirectord*" usr/lib/ldirectord-rs usr/local/etc
}

# hide PATH KEEP... : makes a whiteout for PATH; if a KEEP is below it, for everything else below it.
hide() {
	local path=$1 keep child
	shift
	for keep; do
		case $keep in
		"/$path") return ;;
		"/$path"/*)
			for child in "$path"/*; do hide "$child" "$@"; done
			return
			;;
		esac
	done
	mkdir -p "$layers/gone/${path%/*}"
	[ -e "$layers/gone/$path" ] || mknod "$layers/gone/$path" c 0 0
}

umask 022
mkdir -p "$layers/gone" "$layers/new"
set -f
patterns=$(list)
set +f
cd "$root/"
for path in $patterns; do
	if [ -e "$path" ] || [ -L "$path" ]; then
		hide "$path" "$@"
	fi
done

cd "$layers/new"
for folder in log lib/systemd mail cache backups spool/cron; do
	mkdir -p "var/$folder"
done
for folder in default init.d systemd/system sysctl.d modules-load.d logrotate.d; do
	mkdir -p "etc/$folder"
done
# Debian's accounts as on a new machine, without logins.
for name in passwd group; do
	sed 's/:\*:/:x:/' "$root/usr/share/base-passwd/$name.master" >"etc/$name"
done
sed 's/:.*/:*:19000:0:99999:7:::/' etc/passwd >etc/shadow
sed 's/:.*/:*::/' etc/group >etc/gshadow
chmod 640 etc/shadow etc/gshadow
printf '%s\n' "127.0.0.1 localhost" "::1 localhost" >etc/hosts
printf '%s\n' "passwd: files" "group: files" "shadow: files" "hosts: files dns" >etc/nsswitch.conf
: >etc/resolv.conf
: >etc/fstab
