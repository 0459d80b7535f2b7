#!/bin/bash
# Fetches Debian's cluster managers and prints the folder of the unpacked files.
# See tests/fetch-packages.sh.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec "$here/../../fetch-packages.sh" cluster \
	"heartbeat net-tools iputils-arping" \
	"pacemaker pacemaker-cli-utils corosync resource-agents libxml2-utils" \
	"keepalived" \
	"ldirectord"
