#!/bin/bash
# Runs a script of this folder in a Debian whose changes are thrown away.
#
#   tests/packages/run-in-debian.sh BASE PACKAGES SCRIPT     in a mount namespace of its own
#
# SCRIPT is a name without `.sh`. The packages are in /packages there, and this repository in /source.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
base=$1 packages=$2 script=$3

# Next to the base, which may be anywhere: so no needed file is below this mount.
layers=$base.layers
mkdir -p "$layers"
mount -t tmpfs -o mode=755 layers "$layers"
mkdir "$layers/upper" "$layers/work" "$layers/root"
root=$layers/root
mount -t overlay debian -o "lowerdir=$base,upperdir=$layers/upper,workdir=$layers/work" "$root" || {
	echo "packages: this kernel has no overlayfs" >&2
	exit 125
}
mkdir -p "$root/packages" "$root/source"
mount --bind "$packages" "$root/packages"
mount --bind "$here/../.." "$root/source"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -t sysfs sys "$root/sys"
mount -t tmpfs -o mode=755 run "$root/run"
mkdir -p "$root/run/lock"
exec chroot "$root" /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
	DEBIAN_FRONTEND=noninteractive "/source/tests/packages/$script.sh"
