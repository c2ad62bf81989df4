#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# Shares on each file system that a host may have: the programs that test the
# file server, with their /tmp on it, in a mount namespace of their own. They
# differ in inode numbers and birth times, attributes, holes, whiteouts.

load helper

programs=(fsserver fsserver_data fsserver_nodes owner acl idmap lock)

setup() {
	local p
	[ "$(id -u)" = 0 ] || skip "needs root to mount"
	tests=${C_TESTS_DIR:-$top/build/tests}
	for p in "${programs[@]}"; do
		[ -x "$tests/test_$p" ] || skip "tests/c is not built"
		cp "$tests/test_$p" "$BATS_TEST_TMPDIR"
	done
	cd "$BATS_TEST_TMPDIR" || return 1
	mkdir mnt below
}

# image_of MKFS ARG...: ./image
image_of() {
	command -v "$1" >/dev/null || skip "no $1"
	truncate -s 1G image
	"$@" image >/dev/null
}

# on MOUNT-COMMAND [CASES]: the programs, where it has mounted ./mnt, and how
# many cases are well at least
on() {
	local mount=$1 least=${2:-75}
	unshare -m sh -c "$mount 2>/dev/null" ||
		skip "not to be mounted here: $mount"
	# tmpfs has them from Linux 6.6
	unshare -m sh -c "$mount && touch mnt/x &&
		setfattr -n user.x -v 1 mnt/x" 2>/dev/null ||
		skip "has no user attributes here: $mount"
	unshare -m sh -c "$mount"' && rm -f mnt/x && chmod 1777 mnt &&
		mount --bind mnt /tmp || exit
		for p; do
			./test_$p >out.$p 2>&1 || echo "$p: $(grep -B3 "^not" out.$p)"
		done' sh "${programs[@]}" >failed
	[ ! -s failed ] || fail "$(cat failed)"
	[ "$(cat out.* | grep -c '^ok')" -ge "$least" ]
}

@test "ext4" {
	image_of mkfs.ext4 -q -F
	on "mount -o loop image mnt"
}

@test "ext4 with small inodes, which have no birth times" {
	image_of mkfs.ext4 -q -F -I 128 2>/dev/null
	# nor times with fractions of a second, which the others look at
	programs=(fsserver_nodes)
	on "mount -o loop image mnt" 11
}

@test "xfs" {
	image_of mkfs.xfs -q -f
	on "mount -o loop image mnt"
}

@test "btrfs" {
	image_of mkfs.btrfs -q -f
	on "mount -o loop image mnt"
}

@test "tmpfs" {
	on "mount -t tmpfs none mnt"
}

@test "overlayfs" {
	on "mount -t tmpfs none below && mkdir below/lower below/upper below/work &&
		mount -t overlay -o lowerdir=below/lower,upperdir=below/upper,workdir=below/work none mnt"
}
