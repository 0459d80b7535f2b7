#!/bin/bash
# First process of a cluster node, in new namespaces: sets the host name, and
# mounts the folders that nodes do not share. Powering the node off kills it.
#
#   tests/lab/cluster/node-init.sh NAME
set -euo pipefail

hostname "$1"
mount -t tmpfs -o mode=755 run /run
mkdir -p /run/lock /run/resource-agents /run/crm /run/heartbeat/{ccm,crm,dopd}
chown hacluster:haclient /run/crm /run/heartbeat /run/heartbeat/*
mount -t tmpfs -o mode=1777 shm /dev/shm
for folder in /etc/{ha.d,corosync,keepalived,pacemaker} /var/lib/{heartbeat,pacemaker,corosync}; do
	mkdir -p "/run/own$folder"
	cp -a "$folder/." "/run/own$folder"
	mount --bind "/run/own$folder" "$folder"
done
mount -t tmpfs -o mode=755 log /var/log
mkdir /var/log/pacemaker /var/log/corosync
chown hacluster:haclient /var/log/pacemaker
: >/run/powered-on
# The shell reaps orphaned processes, as a first process must.
while :; do
	sleep 60 &
	wait $!
done
