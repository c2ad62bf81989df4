#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# Called as virtiofsd is called, vmshare is one: both dialects of options.

load helper

setup() {
	cd "$BATS_TEST_TMPDIR" || return 1
	mkdir -p src
	mark
}
teardown() {
	local p
	for p in $(marked); do kill -9 "$p" 2>/dev/null || true; done
}

# serves ARG...: listens at ./s, ends well on TERM
serves() {
	rm -f s
	"$VMSHARE" --socket-path=s "$@" >out 2>err </dev/null 3>&- &
	server=$!
	wait_for 10 test -S s || fail "$(cat err)"
	kill -TERM $server
	wait $server || fail "status $?: $(cat err)"
	[ ! -s out ]
}

@test "--print-capabilities is JSON that libvirt understands" {
	v --print-capabilities
	ended 0
	silent_on err
	jq -e '.type == "fs" and (.features | type == "array")' "$BATS_TEST_TMPDIR/out"
	jq -e '.features | index("posix-acl-negotiation-mode")' "$BATS_TEST_TMPDIR/out"
}

@test "the C dialect" {
	serves -o "source=$PWD/src"
	serves -o "source=$PWD/src,cache=always,xattr,flock,posix_lock,sandbox=chroot"
	serves -o "source=$PWD/src" -o no_xattr -o no_flock,no_posix_lock -o cache=none
	serves -o "source=$PWD/src,sandbox=namespace" --thread-pool-size=1 -d
}

@test "the Rust dialect" {
	serves --shared-dir "$PWD/src"
	serves --shared-dir="$PWD/src" --cache never --xattr --posix-acl
	serves --shared-dir "$PWD/src" --cache=always --sandbox=chroot --thread-pool-size 4
	serves --shared-dir "$PWD/src" --syslog --announce-submounts --readonly
	serves --shared-dir "$PWD/src" --rlimit-nofile=1024 --log-level debug
	serves --shared-dir "$PWD/src" --inode-file-handles=never --allow-direct-io
}

@test "systemd-vmspawn, mkosi and Incus call it" {
	serves --shared-dir "$PWD/src" --xattr --no-announce-submounts \
		--log-level=error --modcaps=-mknod
	[ ! -s err ] || fail "$(cat err)"
	serves --shared-dir "$PWD/src" --xattr --no-announce-submounts \
		--sandbox=chroot --security-label --inode-file-handles=never
	grep -q 'warning: security-label: new files get no security label' err
	serves --cache=never --shared-dir="$PWD/src" --posix-acl=auto
}

@test "a comma in the path, doubled" {
	mkdir 'a,b'
	serves -o "source=$PWD/a,,b"
}

# known NAME...: taken, or refused by a reason
known() {
	local name
	for name in "$@"; do
		v --print-capabilities "$name"
		[[ $err != *"unknown option"* ]] || fail "$err"
		[ "$status" = 0 ] || says "${name#-o}"
	done
}

@test "each option that a virtiofsd of this machine lists is known" {
	local rust=/usr/libexec/virtiofsd c=/usr/lib/qemu/virtiofsd list
	[ -x $rust ] || [ -x $c ] || skip "no virtiofsd to compare with"
	if [ -x $rust ]; then
		list=$($rust --help | grep -oE '^ +(-[a-zA-Z], )?--?[a-z0-9-]+' |
			grep -oE -- '--?[a-z0-9-]+$')
		[ "$(wc -w <<<"$list")" -gt 30 ]
		# shellcheck disable=SC2046 # words
		known $(grep -vx -- -o <<<"$list")
	fi
	if [ -x $c ]; then
		list=$($c --help | grep -oE -- '-o [a-z_0-9|/]+' | tr '|/' '\n\n')
		[ "$(wc -w <<<"$list")" -gt 40 ]
		# shellcheck disable=SC2046 # words
		known $(sed 's/^-o //; s/^/-o/' <<<"$list") \
			$($c --help | grep -oE '^ +--[a-z-]+' | tr -d ' ')
	fi
}

@test "what it can't honour is refused by name" {
	v --socket-path=s --shared-dir src --frobnicate
	ended 125
	says frobnicate
	v --socket-path=s -o "source=src,source=other"
	ended 125
	says source
	v --socket-path=s
	ended 125
	[ ! -e s ]
}

@test "a guest uses servers that others started: the C virtiofsd, and serve" {
	local c=/usr/lib/qemu/virtiofsd k
	[ -x $c ] && [ "$(id -u)" = 0 ] || skip "no virtiofsd in C, or not root"
	for k in /boot/vmlinuz-*; do
		[ -r "$k" ] || skip "no kernel in /boot that can be read"
	done
	echo host >src/from-host
	$c --socket-path=c.sock -o "source=$PWD/src" >out 2>err </dev/null 3>&- &
	foreign=$!
	"$VMSHARE" serve --socket own.sock --share src:x >>out 2>>err </dev/null 3>&- &
	server=$!
	wait_for 10 test -S c.sock
	wait_for 10 test -S own.sock
	limit=300 v run --accel "$accel" --cpus 1 --timeout $((4 * slow))m \
		--share-socket c.sock:theirs --share-socket own.sock:ours -- sh -c '
		for tag in theirs ours; do
			cat /mnt/$tag/from-host && echo $tag >/mnt/$tag/$tag
		done; sync; cat /mnt/ours/theirs'
	kill "$foreign" 2>/dev/null || true
	ended 0
	[ "$out" = "host
host
theirs" ] || fail "$out"
	[ "$(cat src/theirs src/ours)" = "theirs
ours" ]
	kill -TERM $server
	wait $server
}
