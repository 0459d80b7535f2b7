#!/bin/bash
# Fetches Debian packages and unpacks them next to the build: installs nothing,
# starts no service.
#
#   tests/fetch-packages.sh NAME 'PACKAGE…'...     prints the folder of the unpacked files
#
# Packages of one argument can be installed together; each argument is fetched by
# itself. They are kept in NAME/ in cargo's target folder. Downloading needs root,
# for apt; every user can use packages that were fetched before.
#
# The result does not depend on the packages of this machine: only Debian's base
# system (required packages and their dependencies) is taken from it.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
name=$1
cache=${FETCH_CACHE:-${CARGO_TARGET_DIR:-$here/../target}}/$name
shift

say() { echo "$name: $*" >&2; }
die() {
	say "$*"
	exit 1
}

mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
exec 9>"$cache/lock"
flock 9
stamp="$cache/complete"
wanted="above the base system: $*"
if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
	echo "$cache/root"
	exit 0
fi
[ "$(id -u)" = 0 ] || die "these Debian packages are not in $cache yet; fetch them as root: $*"

archives="$cache/archives"
rm -rf "$stamp" "$cache/root"
mkdir -p "$archives/partial" "$cache/root"
export DEBIAN_FRONTEND=noninteractive

# Prints dpkg's entries of the base system only: other packages count as not installed, so apt fetches them.
base_system() {
	local required
	required=$(dpkg-query -W -f '${binary:Package} ${db:Status-Status} ${Essential} ${Priority}\n' |
		awk '$2 == "installed" && ($3 == "yes" || $NF == "required") { print $1 }')
	# shellcheck disable=SC2086
	apt-cache depends --recurse --installed --no-recommends --no-suggests --no-conflicts --no-breaks \
		--no-replaces --no-enhances $required | sed -n 's/^\([a-z0-9][^: ]*\).*/\1/p' | sort -u >"$cache/base"
	awk -v names="$cache/base" '
		BEGIN { while ((getline name <names) > 0) base["Package: " name]; RS = ""; FS = "\n"; ORS = "\n\n" }
		$1 in base' /var/lib/dpkg/status
}
get() { # packages
	# shellcheck disable=SC2086
	apt-get install -y -q --no-install-recommends --download-only -o Dir::State::status="$cache/status" \
		-o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= \
		-o Dir::Cache::archives="$archives" -o APT::Sandbox::User=root $1
}
base_system >"$cache/status"
for group in "$@"; do
	say "fetching $group"
	get "$group" >"$cache/fetch.log" 2>&1 ||
		{ apt-get update -q && get "$group"; } >"$cache/fetch.log" 2>&1 ||
		die "cannot fetch $group: $(tail -n 5 "$cache/fetch.log")"
done
for package in "$archives"/*.deb; do
	dpkg -x "$package" "$cache/root"
done
# One tree, as on a system whose /lib is a link to /usr/lib.
for folder in bin sbin lib; do
	[ ! -d "$cache/root/$folder" ] || cp -a "$cache/root/$folder/." "$cache/root/usr/$folder/"
done
echo "$wanted" >"$stamp"
say "$(find "$archives" -name '*.deb' | wc -l) packages, $(du -shc "$archives"/*.deb | tail -n 1 | cut -f 1)"
echo "$cache/root"
