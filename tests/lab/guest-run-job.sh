#!/bin/bash
# Second stage inside the emulated machine, process 1: makes the kernel's
# modules usable, runs the command of the job and ends the machine. The job's
# share is /run/lab: `job` (what to run), `started`, `rc` (written here).
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

finish() {
	echo "$1" >/run/lab/rc
	echo b >/proc/sysrq-trigger
	sleep 60
}

# Links of the host's /dev that a bare devtmpfs lacks.
ln -sf /proc/self/fd /dev/fd
ln -sf fd/0 /dev/stdin
ln -sf fd/1 /dev/stdout
ln -sf fd/2 /dev/stderr

# The kernel loads schedulers, netfilter and link types on demand, through /sbin/modprobe.
release=$(uname -r)
modules=/lib/modules/$release
mkdir -p "$modules"
mount --bind "$(cat /run/lab/kernel)/lib/modules/$release" "$modules"
modprobe -a ip_vs veth bridge dummy ipip sctp || echo "lab: modprobe failed" >/dev/console
# Schedulers are loaded in advance. Otherwise the kernel loads a scheduler under its IPVS lock, and can wait for the end
# of a namespace that waits for the same lock (lblc and lblcr; such a test never ends).
for module in "$modules"/kernel/net/netfilter/ipvs/ip_vs_*.ko*; do
	module=${module##*/}
	modprobe "${module%%.*}" || echo "lab: cannot load $module" >/dev/console
done

mount -t cgroup2 cgroup2 /sys/fs/cgroup 2>/dev/null
ip link set lo up
# Mails name the machine.
echo lab-machine >/proc/sys/kernel/hostname
echo 1 >/proc/sys/kernel/printk

for port in /sys/class/virtio-ports/*; do
	[ "$(cat "$port/name")" = lab ] && device=/dev/${port##*/}
done
# The port can be opened only once, so one process writes to it. The command gets
# a pipe, which its child processes may open again.
mkfifo /run/output
cat /run/output >"$device" &
writer=$!

: >/run/lab/started
(
	. /run/lab/job
	exec "${command[@]}"
) </dev/null >/run/output 2>&1
rc=$?

# Processes that the command left running would keep the pipe open.
for process in /proc/[0-9]*; do
	pid=${process#/proc/}
	case $pid in 1 | "$writer") ;; *) kill -KILL "$pid" 2>/dev/null ;; esac
done
wait "$writer"
finish "$rc"
