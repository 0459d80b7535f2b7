#!/bin/bash
# Runs a command with Debian's cluster managers: their packages in CLUSTER_ROOT
# are laid over this machine's files. Changes there are gone with the machine, or
# the mount namespace, in which this runs.
set -euo pipefail

"$(dirname "${BASH_SOURCE[0]}")/../../overlay-host.sh" "$CLUSTER_ROOT"

# The managers' scripts start hundreds of processes. Each dynamically linked
# process costs 40 ms on an emulated processor. This shell has the usual tools
# built in.
ln -sf /bin/busybox /usr/bin/sh

# The steps of the packages' scripts.
getent group haclient >/dev/null || echo "haclient:x:799:" >>/etc/group
getent passwd hacluster >/dev/null || echo "hacluster:x:799:799::/var/lib/pacemaker:/usr/sbin/nologin" >>/etc/passwd
for folder in heartbeat/{ccm,crm,pengine,cores/hacluster} pacemaker/{pengine,cib,cores,blackbox}; do
	mkdir -p "/var/lib/$folder"
	chown hacluster:haclient "/var/lib/$folder"
	chmod 750 "/var/lib/$folder"
done
mkdir -p /etc/pacemaker /etc/corosync /etc/keepalived /etc/ha.d/resource.d

exec "$@"
