#!/bin/bash
# Fetches Debian's packages of the servers that the checks are tested against, or
# of the original, which is recorded. Prints the folder of the unpacked files. See
# tests/fetch-packages.sh.
#
#   tests/real_servers/fetch-packages.sh servers|original
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
case ${1-} in
# Packages of one line can be installed together.
servers)
	exec "$here/../fetch-packages.sh" peers \
		"mariadb-server-core mariadb-client-core postgresql-15 slapd dovecot-imapd dovecot-pop3d vsftpd exim4-daemon-light" \
		"dnsmasq-base bind9 freeradius nginx-light tinyproxy-bin squid inn2 kamailio" \
		"openssl iproute2 ldap-utils prometheus" \
		"proftpd-core proftpd-mod-crypto opensmtpd" \
		"postfix"
	;;
# Libraries that Debian's ldirectord needs but does not depend on: two for
# databases, and one without which an http check over IPv6 ends the program. Debian
# has no library for Oracle.
original)
	exec "$here/../fetch-packages.sh" original "ldirectord libdbd-mysql-perl libdbd-pg-perl libnet-inet6glue-perl"
	;;
*)
	echo "usage: ${BASH_SOURCE[0]} servers|original" >&2
	exit 1
	;;
esac
