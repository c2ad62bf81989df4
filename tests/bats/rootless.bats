#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# Nothing here has any privilege on the host: an ordinary user's shares are
# what a guest's root installs a Debian in and boots from (access=mapped), and
# what it works in as the user would (squash).

load helper

# In the guest: on a mapped share.
# shellcheck disable=SC2016 # for the guest's shell
install_script='
set -e
mkdir /mnt/m/tree
cd /mnt/m/tree
tar -xpf /mnt/ctl/tree.tar --numeric-owner
mkdir -p dev proc sys run tmp var/tmp
chmod 1777 var/tmp
mknod -m 666 dev/null c 1 3
touch var/lib/dpkg/status
cp /mnt/ctl/vmtest.deb .
chroot . dpkg -i /vmtest.deb >&2
'

# In the guest: on a squash share. Each line that is printed is a success.
# shellcheck disable=SC2016
work_script='
cd /mnt/s
export HOME=/tmp
git clone -q /mnt/s/repo clone && test -x clone/tool && echo clone
git -C repo status -s && git -C clone log --oneline | grep -q first && echo log
make -s -C clone install DESTDIR=/mnt/s/dest && test -x dest/usr/bin/tool &&
	echo install
mkdir /tmp/from && cd /tmp/from && echo text >f && chown 33:44 f &&
	chmod 4755 f && ln f g && ln -s f l && mkdir d && touch -d @1000000000 d
cd /mnt/s
rsync -a -H /tmp/from/ rsynced && test -L rsynced/l &&
	test rsynced/f -ef rsynced/g && test $(stat -c %Y rsynced/d) = 1000000000 &&
	echo rsync
cp -a /tmp/from copied && test $(stat -c %a copied/f) = 4755 && echo cp
tar -C /tmp/from -cf - . | tar -xpf - -C dest && echo tar
mkfifo fifo && echo fifo
chown 5:6 copied/f && chgrp 7 copied && echo chown
mkdir closed && echo x >closed/f && chmod 444 closed/f && chmod 555 closed &&
	echo more >>closed/f && touch closed/g && rm -r closed && echo closed
mknod dev c 1 3 2>/dev/null || echo no device
! command -v npm >/dev/null || { cd app && npm install --offline --no-audit \
	--no-fund --no-update-notifier >&2 &&
	test "$(node_modules/.bin/dep)" = runs && echo npm; }
'

setup_file() {
	local p
	needs_guest
	[ "$(id -u)" = 0 ] || export SKIP="needs root to become somebody else"
	for p in git rsync make dpkg-deb; do
		command -v $p >/dev/null || export SKIP="no $p"
	done
	[ -n "${SKIP:-}" ] || image root
	[ -z "${SKIP:-}" ] || return 0
	cd "$BATS_FILE_TMPDIR" || return 1
	chmod 755 "$BATS_RUN_TMPDIR" . 2>/dev/null || true
	mkdir -p user/{ctl,m,s,tmp}
	cp "$VMSHARE" user/vmshare
	# shellcheck disable=SC2154 # image sets it
	tree_tar "$root" user/ctl/tree.tar
	package user/ctl/vmtest.deb
	repository user/s/repo
	project user/s/app
	chown -R 65534:65534 user
	as_user installed --share user/ctl:ctl,ro --share user/m:m,access=mapped \
		--share user/s:s -- sh -c "$install_script$work_script"
}

# What Debian calls essential, of a larger tree: few files, since each costs a
# guest without KVM some tens of milliseconds.
tree_tar() { # ROOT TAR
	local packages=(base-files base-passwd bash busybox-static coreutils
		dash debianutils diffutils dpkg findutils grep gzip hostname
		libacl1 libattr1 libaudit1 libblkid1 libbz2-1.0 libc-bin libc6
		libcap-ng0 libcap2 libcrypt1 libgcc-s1 libgmp10 liblzma5 libmd0
		libmount1 libpam0g libpcre2-8-0 libselinux1 libsemanage2
		libsepol2 libsmartcols1 libsystemd0 libtinfo6 libudev1 libuuid1
		libzstd1 login mount passwd sed tar util-linux zlib1g)
	{
		printf '/%s\n' bin sbin lib lib64 etc \
			var/lib/dpkg/info/format var/lib/dpkg/triggers \
			var/lib/dpkg/updates var/lib/dpkg/alternatives
		for p in "${packages[@]}"; do
			cat "$1/var/lib/dpkg/info/$p".list \
				"$1/var/lib/dpkg/info/$p":*.list 2>/dev/null || :
		done | grep -v '^/usr/share/\(doc\|locale\|man\|i18n\|info\)' |
			grep -v gconv
	} | sed 's,^/\(s\?bin\|lib\|lib64\)/,/usr/\1/,; s,^/,,; s,^\.$,,' |
		grep . | sort -u | while read -r f; do
		[ ! -L "$1/$f" ] && [ ! -e "$1/$f" ] || echo "$f"
	done >files
	tar -C "$1" --no-recursion --numeric-owner -cf "$2" -T files
	tar -C "$1" --numeric-owner -rf "$2" etc
}

package() {
	mkdir -p pkg/DEBIAN pkg/usr/bin pkg/var/lib/vmtest
	printf '%s: %s\n' Package vmtest Version 1 Architecture all \
		Maintainer 'nobody <nobody@localhost>' \
		Description 'what the test installs' >pkg/DEBIAN/control
	cat >pkg/DEBIAN/postinst <<-'END'
		#!/bin/sh
		set -e
		chown 33:44 /var/lib/vmtest
		chmod 2750 /var/lib/vmtest
	END
	printf '#!/bin/sh\necho it runs\n' >pkg/usr/bin/vmtest
	chmod 755 pkg/DEBIAN/postinst
	chmod 4755 pkg/usr/bin/vmtest
	dpkg-deb --root-owner-group -b pkg "$1" >/dev/null
}

repository() {
	mkdir -p "$1"
	printf '#!/bin/sh\necho tool\n' >"$1/tool"
	chmod 755 "$1/tool"
	# shellcheck disable=SC2016 # for make
	printf 'install:\n\tinstall -D -o root -g root -m 755 tool $(DESTDIR)/usr/bin/tool\n' \
		>"$1/Makefile"
	git -C "$1" init -q
	git -C "$1" add .
	git -C "$1" -c user.name=n -c user.email=e@localhost commit -q -m first
}

# What npm installs from a file: a program, by a symlink to it.
project() {
	mkdir -p "$1" package/bin
	printf '#!/usr/bin/env node\nconsole.log("runs")\n' >package/bin/dep.js
	chmod 755 package/bin/dep.js
	cat >package/package.json <<-'END'
		{ "name": "dep", "version": "1.0.0",
		  "bin": { "dep": "bin/dep.js" } }
	END
	tar -czf "$1/dep.tgz" package
	cat >"$1/package.json" <<-'END'
		{ "name": "app", "version": "1.0.0",
		  "dependencies": { "dep": "file:./dep.tgz" } }
	END
}

# as_user NAME ARG...: run a guest; NAME.out, NAME.err, NAME.failed
as_user() {
	local name=$1
	shift
	timeout $((780 * slow)) setpriv --reuid 65534 --regid 65534 --clear-groups \
		env HOME=/nonexistent TMPDIR="$PWD/user/tmp" user/vmshare run \
		--accel "$accel" --cpus 1 --timeout $((12 * slow))m "$@" \
		>"$name.out" 2>"$name.err" </dev/null || echo $? >"$name.failed"
}

setup() {
	may_run
	cd "$BATS_FILE_TMPDIR" || return 1
}

@test "mapped: tar -xp of a Debian tree and dpkg -i in it, by a guest's root" {
	grep -q 'Setting up vmtest' installed.err ||
		fail "$(cat installed.failed installed.err)"
	[ ! -e installed.failed ] || fail "$(cat installed.failed installed.err)"
}

@test "squash: git, make install, rsync -a, cp -a, tar -xp succeed" {
	for p in clone log install rsync cp tar fifo chown closed "no device"; do
		grep -qx "$p" installed.out || fail "$p: $(cat installed.err)"
	done
}

@test "squash: npm install succeeds" {
	command -v npm >/dev/null || skip "no npm"
	grep -qx npm installed.out || fail "$(cat installed.err)"
}

@test "mapped: a guest boots from that tree as its root, and owners are kept" {
	local said
	as_user booted --root user/m/tree --root-rw -- sh -c '
		id -u; stat -c "%u:%g %a %n" /var/lib/vmtest /usr/bin/vmtest \
			/etc/shadow /etc /usr/bin/passwd; stat -c "%F %t:%T" /dev/null
		nobody="setpriv --reuid 65534 --regid 65534 --clear-groups sh -c"
		vmtest; $nobody "cat /etc/shadow" 2>&1 |
			grep -o "Permission denied"; cd /var/tmp; $nobody "
			ln -s a l && tar -cf t l && rm l && tar -xf t &&
			cp -a l m && stat -c %U l && rm l m t"
		dpkg -r vmtest >/dev/null && echo removed
		touch /new && chown 12:34 /new && sync'
	said=$(cat booted.out)
	[ ! -e booted.failed ] || fail "$(cat booted.failed booted.err) $said"
	[ "$said" = "0
33:44 2750 /var/lib/vmtest
0:0 4755 /usr/bin/vmtest
0:42 640 /etc/shadow
0:0 755 /etc
0:0 4755 /usr/bin/passwd
character special file 1:3
it runs
Permission denied
nobody
removed" ] || fail "$said"
	[ -e user/m/tree/new ]
	# Written through, it gets nothing that it was not asked for.
	[ ! -e user/m/tree/etc/hosts ]
	[ ! -e user/m/tree/usr/bin/vmtest ]
}

@test "all of it is the caller's on the host, who can read and delete it" {
	[ -z "$(find user/m user/s ! -user 65534)" ]
	[ -z "$(find user/m -type b -o -type c -o -perm /6000)" ]
	as_caller="setpriv --reuid 65534 --regid 65534 --clear-groups"
	$as_caller grep -q root user/m/tree/etc/shadow
	$as_caller rm -r user/m user/s
}
