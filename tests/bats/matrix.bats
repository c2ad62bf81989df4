#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# The same small job in guests of every make: each memory type, one and two
# NUMA nodes, one and four queues, an older and a newer kernel and QEMU.

load helper

setup_file() {
	image disk
	image_new
}

setup() {
	may_run
	cd "$BATS_TEST_TMPDIR" || return 1
	mark
}

teardown() {
	give_huge
}

@test "memfd, one node, one queue" {
	guest_uses "$disk"
}

@test "memfd, preallocated, two nodes, two processors" {
	guest_uses --prealloc --cpus 2 --numa memory=256M --numa memory=256M "$disk"
	grep -qx 'nodes 2' ctl/log
}

@test "huge pages" {
	need_huge 256
	guest_uses --memory-type hugepages=2M "$disk"
}

@test "huge pages, two nodes, four queues" {
	need_huge 256
	share_options=,queues=4 guest_uses --memory-type hugepages=2M --cpus 2 \
		--numa memory=128M --numa memory=384M "$disk"
	grep -qx 'nodes 2' ctl/log
}

@test "a file, which has no name any more" {
	mkdir backing
	guest_uses --memory-type "file=$PWD/backing" "$disk"
	[ -z "$(ls -A backing)" ]
}

@test "a file, two nodes, four queues" {
	mkdir backing
	share_options=,queues=4 guest_uses --memory-type "file=$PWD/backing" \
		--cpus 2 --numa memory=256M --numa memory=256M "$disk"
	[ -z "$(ls -A backing)" ]
	grep -qx 'nodes 2' ctl/log
}

@test "four queues" {
	share_options=,queues=4,queue-size=128 guest_uses --cpus 4 "$disk"
}

# On QEMU 10 only: before, TCG breaks this kernel while it boots (cmpxchg16b).
@test "kernel 6.12 on QEMU 10; shared mappings with cache=none" {
	[ -z "$SKIP_NEW" ] || skip "$SKIP_NEW"
	mkdir none
	more='mkdir /mnt/none
		mount -t virtiofs none /mnt/none
		fio --name=m --filename=/mnt/none/mapped --size=4M --bs=4k \
			--ioengine=mmap --rw=randwrite --verify=crc32c \
			--fallocate=none
		sha256sum </mnt/none/mapped >/mnt/none/sum
		umount /mnt/none' guest_uses --share none:none,cache=none \
		--qemu "$backports/qemu-system-x86_64" "$disk_6_12"
	grep -q '^6\.12' ctl/log
	[ "$(sha256sum <none/mapped)" = "$(cat none/sum)" ]
}

@test "kernel 6.12 on QEMU 10, four queues in use" {
	[ -z "$SKIP_NEW" ] || skip "$SKIP_NEW"
	share_options=,queues=4 guest_uses --cpus 4 \
		--qemu "$backports/qemu-system-x86_64" "$disk_6_12"
	grep -q '^6\.12' ctl/log
	# Each of the two shares' queues, by the processor that it belongs to.
	[ "$(awk '/requests\.[0-3]$/ && $2 + $3 + $4 + $5' ctl/log | wc -l)" = 8 ]
}

@test "kernel 6.1 on QEMU 10" {
	[ -z "$SKIP_NEW" ] || skip "$SKIP_NEW"
	guest_uses --qemu "$backports/qemu-system-x86_64" "$disk"
}

# The file server has none: QEMU is told so, and its guest uses split ones.
@test "packed rings that QEMU is told to offer are not used" {
	guest_uses --qemu-arg -global \
		--qemu-arg vhost-user-fs-pci.packed=on "$disk"
	# Bit 34 of what the driver accepted.
	grep -qx 'packed 0' ctl/log
}
