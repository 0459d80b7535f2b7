#!/bin/bash
# Gives the calling mount namespace its own /usr, /etc and /var: this machine's files under the fetched packages
# (tests/fetch-packages.sh). Changes there are gone with the namespace.
#
#   tests/overlay-host.sh [--hide] FOLDER...
#
#   --hide   hides an operator's own files of this machine (tests/hide-host-files.sh), and makes /run empty
#
# The packages' /etc and /var are small and are copied into the upper layer: a layer must not be inside another layer,
# and this repository, with the packages, may be below /var.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(cd "$here/.." && pwd)
hide=
[ "${1-}" != --hide ] || { hide=yes && shift; }

die() {
	echo "overlay-host: $*" >&2
	exit 125
}

# The folders that stay visible, wherever they are.
kept=("$repository" "$@")
[ -z "${CARGO_TARGET_DIR-}" ] || kept+=("$(realpath -m "$CARGO_TARGET_DIR")")

if [ "$hide" ]; then
	run=$(mktemp -d /tmp/run.XXXXXX)
	mount --rbind /run "$run"
	mount -t tmpfs -o mode=755 run /run
	mkdir /run/lock
	for folder in "${kept[@]}"; do
		case $folder in /run/*) mkdir -p "$folder" && mount --bind "$run/${folder#/run/}" "$folder" ;; esac
	done
	umount --lazy "$run"
	rmdir "$run"
fi
layers=$(mktemp -d /run/layers.XXXXXX)
chmod 755 "$layers"
[ -z "$hide" ] || "$here/hide-host-files.sh" / "$layers" "${kept[@]}"

for folder in usr etc var; do
	upper=$layers/$folder lower=
	mkdir -p "$upper" "$layers/$folder.work"
	for root; do
		[ -d "$root/$folder" ] || continue
		case $folder:$root in
		usr:/usr/*) die "$root: the packages of the tests cannot be below /usr" ;;
		usr:*) lower+=$root/usr: ;;
		*) cp -a --no-clobber "$root/$folder/." "$upper/" ;;
		esac
	done
	for layer in new gone; do
		[ ! -d "$layers/$layer/$folder" ] || lower+=$layers/$layer/$folder:
	done
	mount -t overlay tests -o "lowerdir=$lower/$folder,upperdir=$upper,workdir=$layers/$folder.work" "/$folder" ||
		die "this kernel has no overlayfs"
done
