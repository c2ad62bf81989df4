#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# Messages of the preflight that depend on the machine: each is provoked and
# compared in full.

load helper

setup() {
	cd "$BATS_TEST_TMPDIR" || return 1
	mkdir -p src
	truncate -s 1M disk.img
	standin_full qemu
	export VMSHARE_QEMU=$PWD/qemu
}

@test "the whole host is shared for writing only where that is said" {
	refused 125 "share 'r': / is the whole host, and the guest could write to it" \
		"add ro, or allow-root if that is meant" run -s /:r disk.img
	v check --accel tcg -s /:r,ro disk.img
	ended 0
	v check --accel tcg -s /:r,allow-root disk.img
	ended 0
}

@test "memory: more than is available now is a warning" {
	local total
	total=$(awk '/^MemTotal/ { print int($2 / 1024) - 64 }' /proc/meminfo)
	v check --accel tcg -m "${total}M" disk.img
	ended 0
	says "that this host has available now"
}

@test "memory: a file system that is too small" {
	refused 125 "needed; the guest would die of SIGBUS later" \
		"use --memory-type memfd (default)" \
		run -m 16000G --memory-type "file=$PWD" disk.img
}

@test "QEMU before vhost-user-fs, and a build without KVM's processor" {
	standin_full old 4.1.0
	refused 125 "$PWD/old 4.1 is too old; 4.2 or later is needed (vhost-user-fs)" \
		- run --qemu "$PWD/old" --accel tcg disk.img
	[ ! -w /dev/kvm ] || skip "this machine has KVM"
	v check disk.img
	ended 0
	says "; using TCG, which is much slower"
}

@test "firmware that is not installed" {
	! grep -ls '"aarch64"' /usr/share/qemu/firmware/*.json ||
		skip "firmware for aarch64 is installed"
	refused 125 "no UEFI firmware for aarch64 is described in /usr/share/qemu/firmware" \
		"install the firmware (Debian: sudo apt install qemu-efi-aarch64)" \
		run --arch aarch64 --accel tcg disk.img
}

@test "disk: a directory, an empty file, in use" {
	local locker
	refused 125 "src: is a directory, not a disk image" \
		"to boot it as a tree: --root DIR" run src
	: >empty.img
	refused 125 "empty.img: is empty" - run empty.img
	command -v qemu-io >/dev/null || skip "qemu-io is not installed"
	qemu-io -f raw -c "sleep 5000" disk.img &
	locker=$!
	sleep 1
	v check --accel tcg disk.img
	kill $locker
	ended 125
	says "disk.img: in use by another process (pid"
}

@test "a share that holds its guest's disk" {
	v check --accel tcg -s "$PWD:t" disk.img
	ended 0
	says "share 't' contains the guest's own disk disk.img"
}

@test "completions know each command and what values are" {
	v completion bash
	ended 0
	# What bash would offer for the words before the cursor.
	offers() {
		bash -c 'eval "$(cat)"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
			compopt() { :; }; _vmshare; echo "${COMPREPLY[*]}"' \
			- "$@" <out
	}
	[ "$(offers vmshare ru)" = run ]
	[ "$(offers vmshare res)" = restart ]
	[ "$(offers vmshare run --epheme)" = --ephemeral ]
	[ "$(offers vmshare run --accel k)" = kvm ]
	[ "$(offers vmshare run --share sr)" = src ]
	[ "$(offers vmshare run --kernel disk)" = disk.img ]
	[ "$(offers vmshare serve --on)" = --once ]
	[ "$(offers vmshare completion z)" = zsh ]
	v completion fish
	ended 0
	prints "complete -c vmshare"
	v completion zsh
	ended 0
	prints "#compdef vmshare"
	v completion tcsh
	ended 125
}

@test "a domain for libvirt that its schema accepts" {
	command -v virt-xml-validate >/dev/null || skip "no virt-xml-validate"
	v libvirt-xml --accel tcg -p 2 --numa memory=512M --numa memory=512M \
		--memory-type hugepages=2M -s "src:a&b,ro,cache=always" \
		--share-socket /run/x:ext --ephemeral disk.img
	ended 0
	virt-xml-validate out domain
	refused 125 "a guest that vmshare's own init boots is not for libvirt" \
		"give a disk that boots by itself" libvirt-xml --accel tcg
}
