# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# What the suites share: running vmshare as a script would, asserting what it
# said, stand-ins for QEMU, guests of the test disk, and a look for left-overs.
#
# A suite whose guests can't be had sets SKIP in setup_file; its setup() calls
# `may_run`, so that each test is skipped with that reason.

top=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
VMSHARE=${VMSHARE:-$top/vmshare}
export VMSHARE
# One file system that has user xattrs and O_DIRECT, unlike many a /tmp.
export TMPDIR=${VMSHARE_TEST_TMP:-/var/tmp}
# What runs the guests of the tests, and by how much all of their time limits
# are longer than on a machine of one's own.
accel=${VMSHARE_TEST_ACCEL:-tcg}
slow=${VMSHARE_TEST_SLOW:-1}
# Looking costs a slow machine more than what is waited for.
pause=0.1
[ "$slow" = 1 ] || pause=2
unset VMSHARE_CONFIG VMSHARE_QEMU NOTIFY_SOCKET LISTEN_FDS LISTEN_PID

may_run() {
	[ -z "${SKIP:-}" ] || skip "$SKIP"
}

fail() {
	printf '%s\n' "$*" >&2
	return 1
}

# v ARG...: run it with no terminal and no input. Sets status, out, err.
v() {
	status=0
	timeout -k 5 $((${limit:-60} * slow)) "$VMSHARE" "$@" >"$BATS_TEST_TMPDIR/out" \
		2>"$BATS_TEST_TMPDIR/err" </dev/null || status=$?
	out=$(cat "$BATS_TEST_TMPDIR/out")
	err=$(cat "$BATS_TEST_TMPDIR/err")
}

# Words that must stand in stderr, in stdout; that must not.
says() {
	[[ $err == *"$1"* ]] || fail "stderr lacks: $1"$'\n'"it has: $err"
}
prints() {
	[[ $out == *"$1"* ]] || fail "stdout lacks: $1"$'\n'"it has: $out"
}
silent_on() { # out|err
	[ -z "${!1}" ] || fail "std$1 has: ${!1}"
}
ended() {
	[ "$status" = "$1" ] ||
		fail "exit status $status, not $1"$'\n'"stderr: $err"
}

# refused STATUS "error text" "hint text, or -" ARG...: what a mistake gets.
refused() {
	local want=$1 text=$2 hint=$3
	shift 3
	v "$@"
	ended "$want"
	silent_on out
	grep -F -- "$text" <<<"$err" | grep -q '^vmshare: error: ' ||
		fail "no error with: $text"$'\n'"stderr has: $err"
	[ "$hint" = - ] || says "vmshare: hint: $hint"
}

# bootable FILE...: 1 MiB with a boot sector's signature, and nothing else
bootable() {
	local file
	for file in "$@"; do
		truncate -s 1M "$file"
		printf '\x55\xaa' | dd of="$file" bs=1 seek=510 conv=notrunc status=none
	done
}

# standin FILE VERSION [DEVICE...]: a QEMU that answers questions only, and
# keeps its words in FILE.args, one a line, when it is asked to run.
standin() {
	local file=$1 version=$2
	shift 2
	{
		echo '#!/bin/sh'
		echo 'case "$*" in'
		echo "*-version*) echo 'QEMU emulator version $version' ;;"
		echo '*"-device help"*)'
		printf "echo 'name \"%s\", bus PCI'\n" "$@"
		echo ';;'
		echo '*"-machine help"*)'
		echo "echo 'q35 Standard PC'; echo 'microvm microvm (i386)' ;;"
		printf '*) printf "%%s\\n" "$@" >%q; ' "$file.args"
		# shellcheck disable=SC2016 # for the stand-in's shell
		echo 'exit "${STANDIN_STATUS:-0}" ;;'
		echo 'esac'
	} >"$file"
	chmod +x "$file"
}
standin_full() {
	standin "$1" "${2:-7.2.0}" vhost-user-fs-pci virtio-blk-pci pvpanic-pci
}

# ---- guests -----------------------------------------------------------------

# needs_guest [SKIP]: $kernel is the host's own, for a guest without a disk, or
# the one named SKIP says why there can be none
needs_guest() {
	local why=${1:-SKIP}
	export kernel
	for kernel in /boot/vmlinuz-*; do
		[ -r "$kernel" ] || kernel=
	done
	[ -n "$kernel" ] || export "$why=no kernel in /boot that can be read"
	command -v qemu-system-x86_64 >/dev/null ||
		command -v qemu-system-aarch64 >/dev/null ||
		export "$why=no QEMU"
}

# image NAME [SKIP]: sets the variable of that name (dashes and dots are _) to
# the path, or the one named SKIP to why this machine can't have it. One that it
# could have, and that was not made, is a failure.
image() {
	local said status=0
	said=$("$top/tests/images/get" "$1" 2>&1) || status=$?
	case $status in
	0) export "${1//[-.]/_}=${said##*$'\n'}" ;;
	77) export "${2:-SKIP}=${said##*$'\n'}" ;;
	*) fail "$1 could not be made: $said" ;;
	esac
}

# job DIRECTORY <script: a ctl share with a job for the test disk
job() {
	rm -rf "$1"
	mkdir -p "$1"
	cat >"$1/job"
}

# The options that every guest of the tests has: small, and slow to give up.
guest_options=(--memory 512M --cpus 1 --net none --accel "$accel"
	--ephemeral --timeout $((10 * slow))m)

# host_qemu: options of a QEMU that is started by hand, the disk apart
hand_qemu=(qemu-system-x86_64 -accel "tcg,thread=single" -cpu max -m 512M
	-smp 1 -nic none -display none -no-reboot -serial stdio -monitor none)

# image_new: the disk with kernel 6.12 and the QEMU that can run it, or SKIP_NEW
image_new() {
	export SKIP_NEW=
	image disk-6.12 SKIP_NEW
	image backports SKIP_NEW
}

# guest_uses ARG...: boot, exchange files, compare; ctl/log has what was said.
# share_options: more of the share, with a comma before; more: of the job
guest_uses() {
	mkdir -p data
	head -c 3000000 /dev/urandom >data/from-host
	job ctl <<-'END'
		set -ex
		[ ! -s more ] || sh -ex ./more
		mkdir -p /mnt/data
		mount -t virtiofs data /mnt/data
		cd /mnt/data
		cp from-host from-guest
		for i in $(seq 300); do echo $i >f.$i; done
		cat f.* | wc -l
		nproc
		echo nodes $(ls -d /sys/devices/system/node/node* | wc -l)
		uname -r
		grep requests /proc/interrupts
		echo packed $(cut -c 35 /sys/bus/virtio/drivers/virtiofs/*/features | uniq)
		cd / && umount /mnt/data
	END
	printf '%s' "${more:-}" >ctl/more
	limit=500 v run "${guest_options[@]}" --share "$PWD/ctl:ctl" \
		--share "$PWD/data:data${share_options:-}" --timeout $((8 * slow))m "$@"
	ended 0
	[ "$(cat ctl/status)" = 0 ] || fail "$(cat ctl/log)"
	cmp data/from-host data/from-guest
	[ "$(find data -name 'f.*' | wc -l)" = 300 ]
	nothing_left
}

# ---- left-overs --------------------------------------------------------------

# Everything that is started from here on carries a mark in its environment,
# and its temporary files go to a directory of their own.
mark() {
	export VMSHARE_TEST_MARK=$BATS_SUITE_TEST_NUMBER-$$-$RANDOM
	export TMPDIR=$BATS_TEST_TMPDIR/tmp
	mkdir -p "$TMPDIR"
	huge_before=
}
marked() { # pids of what still runs; no process for each that does
	local p comm
	for p in /proc/[0-9]*; do
		read -r comm <"$p/comm" || continue
		case $comm in
		*vmshare*|*qemu*) ;;
		*) continue ;;
		esac
		if grep -qzxF "VMSHARE_TEST_MARK=$VMSHARE_TEST_MARK" \
			"$p/environ"; then
			echo "${p#/proc/}"
		fi
	done 2>/dev/null
}
nothing_left() { # within twenty seconds
	local pids
	for _ in $(seq 200); do
		pids=$(marked)
		[ -n "$pids" ] || break
		sleep $pause
	done
	[ -z "$pids" ] || fail "left behind: $(ps -o pid,stat,args -p "${pids//$'\n'/,}")"
	[ -z "$(find "$TMPDIR" -mindepth 1)" ] ||
		fail "left behind: $(find "$TMPDIR" -mindepth 1)"
	[ -z "$huge_before" ] || [ "$(huge_pages)" = "$huge_before" ] ||
		fail "huge pages are not free again"
}

# need_huge COUNT: so many pages of 2 MiB more than there are, until teardown
# calls give_huge; one test of the machine at a time
huge_pages() {
	grep -E 'HugePages_(Free|Rsvd)' /proc/meminfo
}
need_huge() {
	[ "$(id -u)" = 0 ] || skip "needs root to reserve huge pages"
	exec 8>/var/lock/vmshare-tests-huge
	flock 8
	huge_was=$(cat /proc/sys/vm/nr_hugepages)
	echo $((huge_was + $1)) >/proc/sys/vm/nr_hugepages
	[ "$(cat /proc/sys/vm/nr_hugepages)" -ge $((huge_was + $1)) ] ||
		skip "no huge pages to be had"
	huge_before=$(huge_pages)
}
give_huge() {
	[ -z "${huge_was:-}" ] || echo "$huge_was" >/proc/sys/vm/nr_hugepages
}

# wait_for SECONDS COMMAND...: until it succeeds
wait_for() {
	local end=$((SECONDS + $1 * slow))
	shift
	until "$@"; do
		[ $SECONDS -lt $end ] || fail "not within the time: $*" || return 1
		sleep $pause
	done
}
