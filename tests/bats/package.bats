#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# First contact: README's transcript is what `make demo` prints, its examples
# and the manual's are commands that are understood, and the Debian package
# installs, works and goes away in a Debian that has nothing else; the units do
# what they are for under a real systemd, in a guest.

load helper

setup() {
	cd "$BATS_TEST_TMPDIR" || return 1
}

teardown() {
	umount "$BATS_TEST_TMPDIR/root" 2>/dev/null || true
}

@test "README's transcript is what the demo prints" {
	command -v qemu-system-x86_64 >/dev/null || skip "no QEMU"
	timeout 300 "$top/tests/demo" >demo 2>demo.err </dev/null ||
		fail "$(cat demo.err)"
	# What differs from run to run, and the script that README leaves out.
	sed -E 's,/[^ ]*/vmshare-demo\.[A-Za-z0-9]+,DIR,g; s/(guest: Linux).*/\1 VERSION/' \
		demo | awk "/-- sh -c '/ { sub(/-- sh -c '.*/, \"-- sh -c '...'\"); print; skip = 1; next }
			skip { if (/'\$/) skip = 0; next } { print }" |
		sed '/./,$!d' >got
	awk '/^<!-- transcript/ { on = 1; next } on && /^```/ { if (on++ > 1) exit; next }
		on > 1' "$top/README.md" |
		sed -E 's/(guest: Linux).*/\1 VERSION/' >want
	diff -u want got
}

@test "make check installs, downloads and makes nothing" {
	local tool status=0
	for tool in test check; do
		env -u MAKEFLAGS -u MAKELEVEL make -C "$top" -n $tool >$tool.n
	done
	grep '^tests/setup test' test.n
	[ -z "$(grep tests/setup check.n)" ]
	# Nor does what it calls: a cache without images stays one.
	for tool in apt-get dpkg sudo mmdebstrap; do
		printf '#!/bin/sh\necho "$0 $*" >>%q\n' "$PWD/called" >$tool
	done
	chmod +x apt-get dpkg sudo mmdebstrap
	for tool in root disk disk-6.12 backports tree-trixie; do
		status=0
		PATH=$PWD:$PATH VMSHARE_TEST_IMAGES=keep VMSHARE_TEST_CACHE=$PWD/cache \
			"$top/tests/images/get" $tool 2>said || status=$?
		[ $status = 77 ]
		grep "not in $PWD/cache: make setup" said
	done
	[ ! -e called ]
	[ ! -e cache ]
}

@test "README's examples are understood" {
	local line
	bootable disk.img
	sed -n '/^## Three examples/,/^## /p' "$top/README.md" |
		sed -n 's/^    vmshare //p' >examples
	[ "$(wc -l <examples)" = 3 ]
	mkdir -p src
	while read -r line; do
		line=${line//'~/src'/src}
		line=${line//'/srv/data'/src}
		line=${line//'/run/data.sock'/s}
		# shellcheck disable=SC2086 # the shell's words
		case $line in
		run*) v ${line/run/check} ;;
		serve*) limit=2 v $line; [ "$status" = 124 ] && status=0 ;;
		esac
		[ "$status" = 0 ] || fail "$line: $err"
	done <examples
}

@test "the manual's examples are understood" {
	local line n=0
	needs_guest
	may_run
	bootable disk.img data.img
	mkdir -p src data debian
	# The file is that of CONFIGURATION.
	sed -n '/^# ci.conf/,/^\.Ed/p' "$top/vmshare.1" | grep -v '^\.Ed' >ci.conf
	sed -i '/^memory-type/d; s,^dir = ..,dir = src,' ci.conf
	sed -n '/^\.Sh EXAMPLES/,/^\.Sh/s/^\.Dl vmshare //p' "$top/vmshare.1" |
		sed 's/\\-/-/g; s,~/src,src,g; s,/srv/,,g
			s,/boot/vmlinuz-6.1.0,'"$kernel"',
			s,bzImage --modules inst,'"$kernel"',' >examples
	while read -r line; do
		n=$((n + 1))
		# shellcheck disable=SC2086 # the shell's words
		v check ${line#* }
		case $line in
		*hugepages*) [ "$status" = 0 ] || says "huge pages" ;;
		*) [ "$status" = 0 ] || fail "$line: $err" ;;
		esac
	done <examples
	[ $n = 8 ] || fail "$n examples: $(cat examples)"
}

@test "the Debian package installs, works and goes away" {
	command -v dpkg-deb >/dev/null || skip "dpkg-deb is not installed"
	image root
	may_run
	local tree=$root root=$PWD/root deb
	mkdir tree
	(cd "$top" && git ls-files -co --exclude-standard | while read -r f; do
		[ ! -e "$f" ] || echo "$f"; done | tar -cf - -T -) | tar -xf - -C tree
	env -u MAKEFLAGS -u MAKELEVEL make -j"$(nproc)" -C tree deb >log 2>&1 || fail "$(tail log)"
	deb=$(echo tree/build/*.deb)
	mkdir root up work
	mount -t overlay none -o "lowerdir=$tree,upperdir=up,workdir=work" root \
		2>/dev/null || cp -a --reflink=auto "$tree/." "$root"
	cp "$deb" "$root/vmshare.deb"
	# The image leaves manuals out; a package may depend on nothing.
	chroot "$root" dpkg -i --path-include='/usr/share/man/*' /vmshare.deb
	[ "$(chroot "$root" vmshare version)" = "$("$VMSHARE" version)" ]
	[ -s "$root/usr/share/man/man1/vmshare.1.gz" ]
	[ -s "$root/usr/share/man/man7/vmshare-messages.7.gz" ]
	[ -s "$root/usr/lib/systemd/system/vmshare-serve@.socket" ]
	[ -s "$root/usr/share/bash-completion/completions/vmshare" ]
	[ -s "$root/usr/share/zsh/vendor-completions/_vmshare" ]
	[ -s "$root/usr/share/fish/vendor_completions.d/vmshare.fish" ]
	[ "$(jq -r .binary "$root/usr/share/qemu/vhost-user/40-vmshare.json")" = /usr/bin/vmshare ]
	chroot "$root" /usr/bin/vmshare --print-capabilities | jq -e '.type == "fs"'
	# It runs there: what it serves is listed, what lacks has its hint.
	cat >"$root/try" <<-'END'
		set -eu
		mkdir -p /srv/d
		status=0
		vmshare check --accel tcg -s /srv/d 2>said || status=$?
		[ $status = 127 ]
		grep "^vmshare: error: qemu-system-.*: not found in PATH" said
		grep "^vmshare: hint: sudo apt install qemu-system-" said
		vmshare serve --share /srv/d:d --socket /run/s --pidfile /run/pid &
		until [ -s /run/pid ]; do sleep 0.1; done
		vmshare stat d
		vmshare ps | grep " serve .*/run/s; d=/srv/d"
		kill "$(cat /run/pid)"
		wait $!
		[ ! -e /run/s ]
	END
	# shellcheck disable=SC2016 # for the inner shell
	timeout 60 unshare --mount --pid --fork --kill-child sh -c \
		'mount -t proc proc "$1/proc" && exec chroot "$1" sh -x /try' - "$root" ||
		fail "$(cat "$root/said")"
	chroot "$root" dpkg -r vmshare
	[ ! -e "$root/usr/bin/vmshare" ]
	[ -z "$(find "$root/usr/share" "$root/usr/lib/systemd" -name '*vmshare*')" ]
}

@test "systemd starts a share when somebody connects, confined" {
	command -v qemu-system-x86_64 >/dev/null || skip "no QEMU"
	[ -x /lib/systemd/systemd ] || skip "systemd is not installed"
	[ -x "${UNIT_CLIENT:=$top/build/tests/units/client}" ] ||
		skip "make check-package builds $UNIT_CLIENT"
	needs_guest
	may_run
	mkdir in
	env -u MAKEFLAGS -u MAKELEVEL make -C "$top" install PREFIX=/usr \
		DESTDIR="$PWD/in/root" >log 2>&1 || fail "$(tail log)"
	install -m 755 "$VMSHARE" in/root/usr/bin/vmshare
	cp "$UNIT_CLIENT" "$top"/tests/units/{inside,try} \
		"$top/doc/apparmor/vmshare-serve" in/
	limit=900 v run --accel "$accel" --memory 1G --timeout $((14 * slow))m \
		--share "$PWD/in:in" -- sh /mnt/in/inside
	[ "$(cat in/status)" = 0 ] || fail "$err"$'\n'"$(tail -n 40 in/log)"
	ended 0
	if command -v apparmor_parser; then grep "^under AppArmor" in/log; fi
}
