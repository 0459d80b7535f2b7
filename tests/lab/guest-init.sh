#!/bin/sh
# First process of the emulated machine, from its initramfs (busybox): lays a
# writable layer over the host's root file system, which stays unchanged, hides
# an operator's own files there (`hide-host-files.sh`), and starts
# `guest-run-job.sh`. Errors go to the console. The machine then ends without an exit code, and `run`
# prints these last lines.
die() {
	echo "lab: $*" >/dev/console
	echo b >/proc/sysrq-trigger
}
/bin/busybox mkdir -p /proc /sys /dev /host /layer /root.new
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev

while read -r module; do
	insmod "/modules/$module" || die "cannot load $module"
done </modules/order

share=trans=virtio,version=9p2000.L,msize=512000
mount -t 9p -o "$share,cache=loose,ro" root /host || die "cannot mount the host's root"
mount -t tmpfs tmpfs /layer
mkdir /layer/upper /layer/work /job
mount -t 9p -o "$share,cache=none" job /job || die "cannot mount the job's share"
# Lines of `keep` are names of folders, which may contain blanks.
set --
while read -r folder; do set -- "$@" "$folder"; done </job/keep
/hide-host-files.sh /host /layer "$@" || die "cannot hide the host's own files"
mount -t overlay -o lowerdir=/layer/new:/layer/gone:/host,upperdir=/layer/upper,workdir=/layer/work overlay /root.new ||
	die "cannot mount the writable layer"

cd /root.new || die "no root"
mkdir -p proc sys dev run
mount --move /proc proc
mount --move /sys sys
mount --move /dev dev
mount -t tmpfs -o mode=755 tmpfs run
for folder; do
	case $folder in /run/*) mkdir -p ".$folder" && mount --bind "/host$folder" ".$folder" ;; esac
done
mkdir -p dev/pts dev/shm run/lab run/lock
mount -t devpts devpts dev/pts
mount -t tmpfs tmpfs dev/shm
mount --move /job run/lab
exec switch_root /root.new /bin/bash /run/lab/guest-run-job.sh
