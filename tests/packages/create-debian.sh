#!/bin/bash
# Creates a small Debian 12 with the tools of the tests and the Perl original,
# once, and prints its folder. Tests do not change it.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${CARGO_TARGET_DIR:-$here/../../target}/debian
packages=systemd,ldirectord,lintian,rpm,man-db,mandoc,logrotate,iproute2,procps,busybox-static,bash-completion,zsh,fish,apparmor

mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
exec 9>"$cache/lock"
flock 9
if [ "$(cat "$cache/complete" 2>/dev/null)" != "$packages" ]; then
	command -v mmdebstrap >/dev/null || {
		export DEBIAN_FRONTEND=noninteractive
		apt-get update -qq >&2
		apt-get install -qq -y --no-install-recommends mmdebstrap >&2
	}
	sources=()
	for file in /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources; do
		[ ! -s "$file" ] || sources+=("$file")
	done
	rm -rf "$cache/root" "$cache/complete"
	echo "packages: creating a Debian in $cache/root" >&2
	mmdebstrap --quiet --variant=minbase --include="$packages" --format=directory bookworm "$cache/root" \
		"${sources[@]}" >&2
	echo "$packages" >"$cache/complete"
fi
echo "$cache/root"
