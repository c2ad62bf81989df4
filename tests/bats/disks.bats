#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# `vmshare run --kernel K DISK... -- COMMAND`: a disk as the root of vmshare's
# own init, whole or partitioned, written to or not, and further disks.

load helper

setup_file() {
	local busybox tree=$BATS_FILE_TMPDIR/tree
	needs_guest
	PATH=$PATH:/usr/sbin:/sbin
	for tool in busybox mke2fs debugfs sfdisk qemu-system-"$(uname -m)"; do
		command -v "$tool" >/dev/null || export SKIP="no $tool"
	done
	may_run
	# A root that is no more than a busybox, in a file system of 16 MiB.
	mkdir -p "$tree"/{bin,dev,proc,sys,run,tmp,mnt}
	busybox=$(command -v busybox)
	cp "$busybox" "$tree/bin/"
	for name in sh cat ls head mount touch; do
		ln -s busybox "$tree/bin/$name"
	done
	echo "the root" >"$tree/name"
	mke2fs -q -t ext4 -d "$tree" "$BATS_FILE_TMPDIR/plain.img" 16M
	export plain=$BATS_FILE_TMPDIR/plain.img
}

setup() {
	may_run
	PATH=$PATH:/usr/sbin:/sbin
	cd "$BATS_TEST_TMPDIR" || return 1
	mark
	limit=240
}

# g ARG...: run in a guest
g() {
	v run --kernel "$kernel" --accel "$accel" --cpus 1 -m 512M --timeout $((3 * slow))m "$@"
}
# own ARG...: the same with a directory as the root
own() {
	v run --root / --accel "$accel" --cpus 1 -m 512M --timeout $((3 * slow))m "$@"
}
# on_disk IMAGE FILE: what the host finds there
on_disk() {
	debugfs -R "cat $2" "$1" 2>/dev/null
}

@test "with --root they are data: made a file system of, written, or forgotten" {
	truncate -s 16M a.img
	cp "$plain" b.img
	own --disk a.img --disk b.img -- sh -ec 'PATH=$PATH:/sbin:/usr/sbin
		mke2fs -q /dev/vda; mkdir /tmp/m; mount /dev/vda /tmp/m
		echo new >/tmp/m/f; umount /tmp/m; mount /dev/vdb /tmp/m
		cat /tmp/m/name'
	ended 0
	[ "$out" = "the root" ] || fail "$out; $err"
	[ "$(on_disk a.img /f)" = new ]
	own --ephemeral a.img -- sh -c 'echo gone >/dev/vda; head -n 1 /dev/vda'
	ended 0
	[ "$out" = gone ]
	own --read-only a.img -- sh -c '! echo gone 2>/dev/null >/dev/vda'
	ended 0
	[ "$(on_disk a.img /f)" = new ]
	nothing_left
}

@test "a file system without partitions is the root, and keeps what is written" {
	cp "$plain" a.img
	truncate -s 1M b.img
	mkdir src
	# So does a second disk, where nothing says otherwise.
	g --share src:src a.img b.img -- sh -c 'cat /name; echo kept >/kept
		echo shared >/mnt/src/new; echo written >/dev/vdb'
	ended 0
	[ "$out" = "the root" ]
	[ "$(on_disk a.img /kept)" = kept ]
	[ "$(cat src/new)" = shared ]
	[ "$(head -n 1 b.img)" = written ]
	nothing_left
}

@test "the largest file system of a GPT disk; two disks, all forgotten" {
	truncate -s 40M gpt.img
	sfdisk -q gpt.img <<-'END'
		label: gpt
		start=1MiB, size=4MiB, type=U
		start=5MiB, size=8MiB, type=L
		start=16MiB, size=16MiB, type=L
	END
	mke2fs -q -t ext4 -E offset=$((5 << 20)) gpt.img 8M
	dd if="$plain" of=gpt.img bs=1M seek=16 conv=notrunc status=none
	printf 'second disk' >b.img
	truncate -s 1M b.img
	cp gpt.img gpt.was
	cp b.img b.was
	g --ephemeral gpt.img b.img -- sh -c \
		'cat /name; head -c 11 /dev/vdb; echo; echo x >/kept && echo over >/dev/vdb
		head -c 4 /dev/vdb; ls /dev/vda3'
	ended 0
	[ "$out" = $'the root\nsecond disk\nover/dev/vda3' ]
	cmp gpt.img gpt.was
	cmp b.img b.was
	nothing_left
}

@test "--read-only: the disks are, the root forgets" {
	cp "$plain" a.img
	printf 'second disk' >b.img
	truncate -s 1M b.img
	cp b.img b.was
	g --read-only a.img b.img -- sh -c \
		'echo new >/name && cat /name; echo over >/dev/vdb || echo refused'
	ended 0
	[ "$out" = $'new\nrefused' ]
	cmp a.img "$plain"
	cmp b.img b.was
}

@test "a Debian that boots by itself runs a command instead" {
	image disk
	may_run
	g --ephemeral "$disk" -- sh -c 'cat /etc/hostname; sqlite3 :memory: "select 6 * 7"'
	ended 0
	[ "$out" = $'guest\n42' ]
}

@test "a root inside of something else is named" {
	truncate -s 8M lvm.img
	printf LABELONE | dd of=lvm.img bs=1 seek=512 conv=notrunc status=none
	g lvm.img -- true
	ended 122
	says "no root file system (ext4, xfs, btrfs, squashfs, erofs) on any virtio disk; /dev/vda is an LVM volume"
	: >empty.img
	truncate -s 1M empty.img
	g empty.img -- true
	ended 122
	says "no root file system"
	[[ $err != *"; /dev/"* ]]
}
