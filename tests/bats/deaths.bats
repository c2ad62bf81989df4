#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# Whoever of the processes dies, it is said; and what this host does not allow
# or have is named, not what failed for it. A stand-in plays QEMU.

load helper

setup() {
	cd "$BATS_TEST_TMPDIR" || return 1
	mkdir src d
	bootable disk.img
	binary=$VMSHARE
	mark
}

teardown() {
	local p
	for p in $(marked); do kill -9 "$p" 2>/dev/null || true; done
	[ -z "${group:-}" ] || rmdir "$group"
}

# child NAME: the child of $parent by that name
child() {
	pgrep -P "$parent" -x "$1"
}
# serve [COMMAND...]: in the background, until it listens; $parent is its pid
serve() {
	"$@" "$VMSHARE" serve --share src:t --socket d/s 2>err </dev/null &
	parent=$!
	wait_for 30 child vmshare-share >/dev/null
}
# run: the same with a guest that waits for its power button to be pressed
run_waiting() {
	standin_full "$PWD/qemu"
	sed -i 's,^\*) printf.*,*) touch started; exec sleep 300 ;;,' qemu
	VMSHARE_QEMU=$PWD/qemu "$VMSHARE" run --accel tcg --console none \
		-s src:t disk.img 2>err </dev/null &
	parent=$!
	wait_for 30 test -e started
}
ends_with() { # STATUS
	status=0
	wait_for 30 eval '! kill -0 $parent 2>/dev/null'
	wait $parent || status=$?
	err=$(cat err)
	ended "$1"
	nothing_left
	[ -z "$(ls d)" ]
}
another_guardian() { # than $guard
	[ "$(child vmshare-guard)" != "$guard" ] && child vmshare-guard >/dev/null
}

@test "serve: its file server is killed" {
	serve
	kill -9 "$(child vmshare-share)"
	ends_with 123
	says "error: share 't': the file server failed (killed by signal 9, Killed)"
	says "hint: the kernel does this where memory runs out; dmesg says so then"
}

@test "the guardian is killed: another one does its work" {
	local how guard
	for how in serve run_waiting; do
		$how
		guard=$(child vmshare-guard)
		kill -9 "$guard"
		wait_for 30 another_guardian
		kill -9 $parent
		ends_with 137
		says "warning: the guardian process was killed; another one watches"
	done
}

@test "a guardian that is killed each time is not started for ever" {
	local guard
	serve
	for _ in $(seq 7); do
		guard=$(child vmshare-guard)
		kill -9 "$guard"
		wait_for 30 another_guardian
	done
	kill -9 "$(child vmshare-guard)"
	wait_for 30 grep -q "there is no other" err
	kill -TERM $parent
	ends_with 0
	says "warning: the guardian process was killed, and there is no other: it is killed each time"
}

@test "a limit of file sizes" {
	serve prlimit --fsize=134217728
	kill -TERM $parent
	ends_with 0
	silent_on err
	export VMSHARE=prlimit
	refused 125 \
		"the limit of a file's size is 976.5 KiB; the state of a file server needs 128 MiB" \
		"ulimit -f unlimited, or LimitFSIZE= of the unit" \
		--fsize=1000000 "$binary" serve --share src:t --socket d/s
}

@test "a console's file that is as large as one may be" {
	standin_full "$PWD/qemu"
	cat >talks <<-END
		#!/bin/bash
		case "\$*" in
		*-version*|*help*) exec $PWD/qemu "\$@" ;;
		esac
		for word; do
			case \$word in
			*id=console,*fd=*) fd=\${word##*fd=}; fd=\${fd%%,*} ;;
			esac
		done
		eval "head -c 18M /dev/zero >&\$fd"
	END
	chmod +x talks
	export VMSHARE=prlimit
	v --fsize=17825792 "$binary" run --qemu "$PWD/talks" --accel tcg \
		--memory 16M --console file=log disk.img
	ended 0
	says "warning: the console's output is not all there: File too large"
	rm log
}

@test "no /proc" {
	[ "$(id -u)" = 0 ] || skip "needs root to unmount it"
	unshare -m true 2>/dev/null || skip "no mount namespace to be had"
	export VMSHARE=unshare
	refused 125 "/proc is not mounted: file servers need it" \
		"mount -t proc proc /proc" -m sh -c \
		'umount -l /proc && exec "$@"' - \
		"$binary" serve --share src:t --socket d/s
}

@test "no more processes" {
	[ "$(id -u)" = 0 ] || skip "needs root for a control group"
	local n pids=
	for n in /sys/fs/cgroup/pids /sys/fs/cgroup; do
		[ ! -e "$n/cgroup.procs" ] || mkdir "$n/vmshare-test-$$" || true
		group=$n/vmshare-test-$$
		[ ! -e "$group/pids.max" ] || pids=$group/pids.max
		[ -z "$pids" ] || break
		[ ! -d "$group" ] || rmdir "$group"
		group=
	done
	[ -n "$pids" ] || skip "no control group that counts processes"
	export VMSHARE='sh'
	for n in "1 125 error: can't start the guardian process" \
		"2 125 error: share 't': can't fork the file server" \
		"3 123 error: share 't': can't start a worker" \
		"4 123 error: share 't': can't start the file server"; do
		echo "${n%% *}" >"$pids"
		n=${n#* }
		# shellcheck disable=SC2016 # for the inner shell
		v -c 'echo $$ >"$1"/cgroup.procs; shift; exec "$@"' \
			- "$group" "$binary" serve --share src:t --socket d/s
		ended "${n%% *}"
		says "${n#* }: no more processes or threads are allowed here: see 'ulimit -u', and pids.max"
		nothing_left
	done
}
