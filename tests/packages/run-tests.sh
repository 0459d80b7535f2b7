#!/bin/bash
# Tests the packages of a debug build in a fresh Debian: their contents
# (package-contents), and their effect on a running director (lifecycle, systemd:
# on a machine with IPVS).
#
#   tests/packages/run-tests.sh [package-contents|lifecycle|systemd]
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."
[ "$(id -u)" = 0 ] || {
	echo "packages: only root can create a Debian and chroot into it" >&2
	exit 1
}
target=${CARGO_TARGET_DIR:-target}
folder=$target/package-test
base=$("$here/create-debian.sh")

rm -rf "$folder"
cargo build --quiet
export PACKAGES_FAST=1
packaging/build "$target/debug/ldirectord-rs" "$folder"
# A second build of the same program gives the same bytes.
packaging/build "$target/debug/ldirectord-rs" "$folder/again"
for file in "$folder"/again/*; do
	cmp "$file" "$folder/$(basename "$file")" || exit 1
done
rm -rf "$folder/again"
# A later version, for an upgrade.
case ${1:-lifecycle} in *lifecycle* | *systemd*) packaging/build "$target/debug/ldirectord-rs" "$folder" 9.0.0-1 ;; esac
ls -l "$folder"
folder=$(cd "$folder" && pwd)

for script in ${1:-package-contents lifecycle systemd}; do
	case $script in
	package-contents) unshare --mount "$here/run-in-debian.sh" "$base" "$folder" "$script" ;;
	*) tests/lab/run "$here/run-in-debian.sh" "$base" "$folder" "$script" ;;
	esac
done
