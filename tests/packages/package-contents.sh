#!/bin/bash
# Tests the contents of the packages; needs no IPVS.
set -euo pipefail
. /source/tests/packages/common.sh
version=$(sed -n 's/^version = "\(.*\)"/\1/p' /source/Cargo.toml | head -n 1)
deb=/packages/ldirectord-rs_$version-1_$(dpkg --print-architecture).deb
rpm=$(echo /packages/ldirectord-rs-"$version"-1.*.rpm)

say "next to the original, whose files stay unchanged"
dpkg --verify ldirectord
files >/tmp/before

say "the commands of README.md, without a compiler: from the .deb to a daemon on the in-memory table"
for tool in cc gcc rustc; do
	! command -v $tool || fail "this Debian has $tool"
done
cp "$deb" /root/
sed -n '/^```console install$/,/^```$/p' /source/README.md | sed -n 's/^# //p' >/tmp/readme
grep -q ' start$' /tmp/readme || fail "README.md has no block that installs and starts"
begun=$SECONDS
(cd /root && must bash -e -x /tmp/readme && cp /tmp/said /tmp/readme-said)
took=$((SECONDS - begun))
for line in 'tcp:192\.168\.6\.2:80 ' '192\.168\.6\.3:80 '; do
	grep -q "^ *[^ ]* $line" /tmp/readme-said || fail "show printed: $(cat /tmp/readme-said)"
done
[ $took -lt 60 ] || fail "README.md took $took s"
say "that took $took s"
must dpkg --purge ldirectord-rs
rm -f /root/*.deb /var/log/ldirectord.log /etc/ha.d/sample.cf
dpkg --verify ldirectord

say "the install commands of the guide"
cp "$deb" /root/
cd /root
sed -n '/^```console install$/,/^```$/p' /source/docs/first-hour.md | sed -n 's/^director# //p' >/tmp/install
[ -s /tmp/install ] || fail "the guide has no block that installs"
must bash -e /tmp/install
rm /root/*.deb
gives 0 "^ldirectord-rs $version$" ldirectord-rs --version
[ "$(dpkg-query -W -f '${Version}' ldirectord-rs)" = "$version-1" ] || fail "the version of the package"
head -n 1 /source/packaging/debian/changelog | grep -q "($version-1)" || fail "packaging/debian/changelog has another version"
dpkg --verify ldirectord-rs
dpkg --verify ldirectord

say "its settings and scripts are configuration files, the rest is not"
expected=$(printf '%s\n' /etc/{ha.d/resource.d/ldirectord-rs,init.d/ldirectord-rs,ldirectord-rs.toml,logrotate.d/_ldirectord-rs} | sort)
[ "$(dpkg-query -W -f '${Conffiles}\n' ldirectord-rs | awk 'NF {print $1}' | sort)" = "$expected" ] || fail "conffiles"
[ "$(dpkg -L ldirectord-rs | while read -r file; do [ -d "$file" ] || echo "$file"; done | grep ^/etc | sort)" = "$expected" ] ||
	fail "a file in /etc is not a conffile"

say "the user, and the directory that is created at boot"
getent passwd ldirectord-rs | grep -q ':/usr/sbin/nologin$' || fail "the user: $(getent passwd ldirectord-rs)"
must systemd-sysusers --dry-run ldirectord-rs.conf
must systemd-tmpfiles --create --boot ldirectord-rs.conf
[ "$(stat -c '%U %G %a' /run/ldirectord-rs)" = "ldirectord-rs ldirectord-rs 755" ] || fail "/run/ldirectord-rs"
rmdir /run/ldirectord-rs
# It may belong to a daemon of root: only a boot creates it.
must systemd-tmpfiles --create ldirectord-rs.conf
[ ! -e /run/ldirectord-rs ] || fail "systemd-tmpfiles created the directory of a running daemon"
gives 0 'systemd .<< 244' dpkg-query -W -f '${Breaks}' ldirectord-rs

say "the profile for AppArmor: valid, and not loaded"
profile=/usr/share/apparmor/extra-profiles/usr.sbin.ldirectord-rs
must apparmor_parser --skip-kernel-load --skip-cache "$profile"
gives 0 'flags=\(complain\)' cat "$profile"
[ -z "$(ls /etc/apparmor.d/*ldirectord* 2>/dev/null)" ] || fail "a profile is in /etc/apparmor.d"

say "the address for bugs is that of Cargo.toml"
address=$(sed -n 's/^authors = \["\(.*\)"\]/\1/p' /source/Cargo.toml)
[ "$(dpkg-query -W -f '${Maintainer}' ldirectord-rs)" = "$address" ] || fail "the package has another maintainer"
zcat /usr/share/doc/ldirectord-rs/changelog.Debian.gz | grep -qF " -- $address  " || fail "the changelog of the package has another address"
man -P cat ldirectord-rs | grep -qF "${address#*<}" || man -P cat ldirectord-rs | grep -qF "$(tr -d '<>' <<<"${address##* }")" ||
	fail "the manual does not name $address"

say "every link of the documentation has a target"
for page in $(find /usr/share/doc/ldirectord-rs -name '*.md'); do
	for link in $(grep -oE '\]\([^)#]+' "$page" | sed 's/^](//' | grep -v '^https\?:' || true); do
		[ -e "$(dirname "$page")/$link" ] || fail "$page: $link"
	done
done
for page in SECURITY.md $(cd /source && echo docs/*.md examples/operators/*); do
	[ -e "/usr/share/doc/ldirectord-rs/$page" ] || fail "no $page"
done
for file in $(cd /source/packaging && echo monitoring/*); do
	[ -s "/usr/share/doc/ldirectord-rs/examples/$file" ] || fail "no $file"
done
# Links to files of the package must stay links.
for link in README.md:docs/README.md docs/README.md:../SECURITY.md docs/recipes.md:../examples/operators/README.md \
	examples/operators/README.md:../../examples/ldirectord.cf; do
	grep -qF "](${link#*:})" "/usr/share/doc/ldirectord-rs/${link%%:*}" || fail "${link%%:*} has no link to ${link#*:}"
done

say "a missing file, and the last of the searched places"
cp -a /etc/ha.d /tmp/ha.d
rm -f /etc/ha.d/ldirectord.cf
gives 1 '^$' sh -c 'cd /; ldirectord-rs ldirectord.cf start 2>/tmp/not-found; code=$?; echo; exit $code'
[ "$(head -n 1 /tmp/not-found)" = "Config file ldirectord.cf not found" ] || fail "$(cat /tmp/not-found)"
gives 0 '/etc/ha.d/ldirectord.cf, /etc/ha.d/conf/ldirectord.cf, /ldirectord.cf, /etc/ldirectord.cf$' cat /tmp/not-found
sample=$(sed -n 's/^sample: \([^;]*\);.*/\1/p' /tmp/not-found)
[ -s "$sample" ] || fail "the sample '$sample' is missing"
# R52: /etc is searched last.
echo 'virtual=192.0.2.1:80' >/etc/ldirectord.cf
gives 3 'stopped for /etc/ldirectord.cf$' ldirectord-rs status
rm /etc/ldirectord.cf
cp -a /tmp/ha.d/. /etc/ha.d/

say "the licences of the libraries in the program"
zcat /usr/share/doc/ldirectord-rs/third-party-licences.txt.gz >/tmp/licences
for work in 'ring ' 'rustls ' 'ldap3_proto ' 'Mozilla Public License'; do
	grep -qF "$work" /tmp/licences || fail "no licence of $work"
done

say "the init script: an unknown state is an error"
mkdir /run/ldirectord.ldirectord.cf.pid
for action in reload try-restart; do
	gives 1 'cannot be read.*it is unknown whether' sh -c "/etc/init.d/ldirectord-rs $action 2>&1"
done
gives 4 '^ldirectord-rs: unknown$' /etc/init.d/ldirectord-rs status
rmdir /run/ldirectord.ldirectord.cf.pid

say "Pacemaker's agent finds the pid file in [paths] run, even without the program"
agent="env OCF_RESKEY_ldirectord=/nowhere /usr/lib/ocf/resource.d/heartbeat/ldirectord-rs"
cp -p /etc/ldirectord-rs.toml /tmp/settings
sed -i 's|^#run = .*|run = "/srv/run"|' /etc/ldirectord-rs.toml
must $agent stop
mkdir /srv/run
echo 1 >/srv/run/ldirectord.ldirectord.cf.pid
gives 1 'according to /srv/run/ldirectord.ldirectord.cf.pid it runs$' sh -c "$agent stop 2>&1"
rm -r /srv/run
cp -p /tmp/settings /etc/ldirectord-rs.toml

# R54: the original's package does both.
say "nothing is started or enabled"
[ -z "$(ls /run/*.pid 2>/dev/null)" ] || fail "something runs"
[ -z "$(ls /etc/rc?.d/S??ldirectord-rs /etc/systemd/system/*/ldirectord-rs* 2>/dev/null)" ] || fail "something is enabled"

say "the exposure of the units, of 10"
for unit in ldirectord-rs ldirectord-rs@web; do
	systemd-analyze security --offline=yes --threshold=20 --no-pager "$unit.service" >/tmp/exposure || {
		cat /tmp/exposure
		fail "the exposure of $unit.service is above 2.0"
	}
	tail -n 1 /tmp/exposure
done

say "man pages"
for page in ldirectord-rs.8 ldirectord-rs-switch.8 ldirectord-rs.cf.5; do
	file=/usr/share/man/man${page##*.}/$page.gz
	zcat "$file" | mandoc -T lint -W warning || fail "$file"
	gives 0 "${page%.*} .*- " lexgrog "$file"
	warnings=$(man --warnings -E UTF-8 -l -Tutf8 "$file" 2>&1 >/dev/null)
	[ -z "$warnings" ] || fail "$file: $warnings"
done
gives 0 "checkinterval=seconds" man -P cat ldirectord-rs.cf
gives 0 "checkinterval=seconds" man -P cat ldirectord.cf
must mandb --quiet
gives 0 '^ldirectord-rs \(8\)' apropos lvs
gives 0 '^ldirectord-rs.cf \(5\)' apropos lvs

say "the switch prints its usage, its status and its plan, and changes nothing"
gives 0 '^usage: ldirectord-rs-switch to-rs ' ldirectord-rs-switch --help
gives 255 '^usage: ' ldirectord-rs-switch
gives 255 '^usage: ' ldirectord-rs-switch plan nonsense
gives 0 '^ldirectord-rs: installed, not started at boot$' ldirectord-rs-switch status
gives 0 '^nothing was changed$' ldirectord-rs-switch plan
gives 0 '^nothing was changed$' ldirectord-rs-switch plan to-perl

say "completions"
echo >/etc/ha.d/web.cf
bash_completes() { # words...
	bash -c '. /usr/share/bash-completion/completions/ldirectord-rs
		COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
		_ldirectord_rs
		printf "%s\n" "${COMPREPLY[@]}"' bash "$@"
}
gives 0 '^web.cf$' bash_completes ldirectord-rs ''
gives 0 '^try-restart$' bash_completes ldirectord-rs try
gives 0 '^status$' bash_completes ldirectord-rs -d web.cf st
gives 0 '^web.cf$' bash_completes ldirectord-rs show we
gives 0 '^--foreground$' bash_completes ldirectord-rs --f
gives 0 '^memory$' bash_completes ldirectord-rs --table m
gives 0 '^web.cf' fish -c 'complete -C "ldirectord-rs we"'
gives 0 '^try-restart' fish -c 'complete -C "ldirectord-rs web.cf try"'
gives 0 '^--foreground' fish -c 'complete -C "ldirectord-rs --f"'
# The function of zsh. Fakes replace those functions that only a terminal has, and print their arguments.
zsh_completes() { # first|second, then the words before
	zsh -f -c 'place=$1; shift; before=("$@")
		_arguments() { print -l -- "$@"; line=($before); _ldirectord_rs_$place; }
		_describe() { print -l -- ${(P)2}; }
		_alternative() { print -l -- "$@"; }
		compadd() { print -l -- "$@"; }
		. /usr/share/zsh/vendor-completions/_ldirectord-rs' zsh "$@"
}
gives 0 '^try-restart:' zsh_completes first
gives 0 '^alert-test:' zsh_completes first
gives 0 '^is-up:' zsh_completes first
gives 0 '_files -W /etc/ha.d -g ' zsh_completes first
gives 0 '^try-restart:' zsh_completes second web.cf
gives 0 '_files -W /etc/ha.d' zsh_completes second show
gives 0 '^--all$' zsh_completes second show
gives 0 '^--foreground' zsh_completes first
rm /etc/ha.d/web.cf

say "the log is rotated once, even if the original rotates it, too"
echo line >/var/log/ldirectord.log
must logrotate --force --state /tmp/rotated /etc/logrotate.conf
[ -e /var/log/ldirectord.log.1 ] || fail "not rotated"
rm /var/log/ldirectord.log*

say "removed and purged"
must dpkg --remove ldirectord-rs
[ -e /etc/ldirectord-rs.toml ] || fail "remove deletes the settings"
[ ! -x /etc/init.d/ldirectord-rs ] || fail "the init script is still executable"
must dpkg --purge ldirectord-rs
files >/tmp/after
diff /tmp/before /tmp/after || fail "some files remain"

say "lintian"
lintian --allow-root --fail-on error "$deb" || fail "lintian"

say "the .rpm"
gives 0 "^Version *: $version$" rpm -qip "$rpm"
rpm -qlp "$rpm" >/tmp/rpm-files
for file in $(dpkg-deb -c "$deb" | awk '{print $6}' | sed 's/^\.//' | grep -v -e '/$' -e init.d -e vendor-completions \
	-e /changelog -e /copyright -e /third-party); do
	grep -qxF "$file" /tmp/rpm-files || fail "the .rpm has no $file"
done
[ "$(rpm -qp --configfiles "$rpm" | sort)" = "$(grep -v init.d <<<"$expected")" ] || fail "configuration files of the .rpm"
gives 0 'daemons restart' rpm -qp --scripts "$rpm"
gives 0 '^libc.so.6' rpm -qp --requires "$rpm"
gives 0 '^systemd >= 244' rpm -qp --requires "$rpm"
# Its dependencies are not in the database of rpm on Debian; its scripts and files work here, too. The folders are
# those of an rpm system.
mkdir -p /usr/share/licenses /usr/share/zsh/site-functions /usr/lib/ocf/resource.d/heartbeat
files | grep -v ^/var/lib/rpm >/tmp/before
# Debian has no SELinux: fakes record their arguments.
for tool in semanage restorecon; do
	printf '#!/bin/sh\necho "%s $*" >>/tmp/selinux\n' $tool >/usr/sbin/$tool
	chmod +x /usr/sbin/$tool
done
# systemd does not run here: a fake records its arguments, too.
mkdir -p /run/systemd/system
printf '#!/bin/sh\necho "$*" >>/tmp/systemctl\n' >/usr/sbin/systemctl
chmod +x /usr/sbin/systemctl
must rpm --install --force-debian --nodeps "$rpm"
gives 0 '^semanage fcontext -a -t cluster_exec_t /usr/sbin/ldirectord-rs$' cat /tmp/selinux
gives 0 '^restorecon /usr/sbin/ldirectord-rs$' cat /tmp/selinux
must rpm --verify --nodeps ldirectord-rs
gives 0 "^ldirectord-rs $version$" ldirectord-rs --version
must getent passwd ldirectord-rs
echo "# changed" >>/etc/ldirectord-rs.toml
enabled=/etc/systemd/system/multi-user.target.wants/ldirectord-rs.service
ln -s /usr/lib/systemd/system/ldirectord-rs.service $enabled
must rpm --upgrade --force-debian --nodeps --replacepkgs "$rpm"
gives 0 '^# changed$' tail -n 1 /etc/ldirectord-rs.toml
[ -L $enabled ] || fail "the upgrade disabled the unit"
# The last step, after the files of the old version are gone.
gives 0 '^daemon-reload$' tail -n 1 /tmp/systemctl
rm /tmp/systemctl
must rpm --erase --nodeps ldirectord-rs
gives 0 '^daemon-reload$' tail -n 1 /tmp/systemctl
gives 0 '^semanage fcontext -d /usr/sbin/ldirectord-rs$' tail -n 1 /tmp/selinux
rm /usr/sbin/semanage /usr/sbin/restorecon /usr/sbin/systemctl /etc/ldirectord-rs.toml.rpmsave
files | grep -v ^/var/lib/rpm >/tmp/after
diff /tmp/before /tmp/after || fail "files of the .rpm remain"
say "package-contents: passed"
