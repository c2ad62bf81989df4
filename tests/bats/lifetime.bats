#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# How a run ends, and that nothing is left when it does: signals, timeouts,
# deaths of each process, kill -9 at any moment, the terminal. A guest boots to
# its end only where it matters what it does.

load helper

setup_file() {
	image disk
	[ -z "${SKIP:-}" ] || return 0
	# A guest that never sets up its share takes a minute to be noticed.
	export W=$BATS_FILE_TMPDIR/waits
	mkdir -p "$W/ctl"
	(
		status=0
		timeout $((120 * slow)) "$VMSHARE" run "${guest_options[@]}" \
			--timeout 62s --qemu-arg -S --share "$W/ctl:ctl" \
			"$disk" >/dev/null 2>"$W/err" || status=$?
		echo $status >"$W/status"
	) </dev/null >/dev/null 2>&1 3>&- &
}

setup() {
	may_run
	cd "$BATS_TEST_TMPDIR" || return 1
	mark
	job ctl <<-'END'
		echo up >up
		sleep 300
	END
}

teardown() {
	local p
	for p in $(marked); do kill -9 "$p" 2>/dev/null || true; done
	give_huge
}

# start [ARG...]: a run in the background whose guest waits; $parent
start() {
	rm -f ctl/up
	"$VMSHARE" run "${guest_options[@]}" --share "$PWD/ctl:ctl" \
		"$@" "$disk" >out 2>err </dev/null &
	parent=$!
}
is_up() {
	[ -e ctl/up ]
}
begins() { # to boot: QEMU runs and has all that it wants
	grep -q SYSLINUX out
}
ends_with() { # STATUS, within 3 minutes
	local st=0
	wait_for 180 eval '! kill -0 $parent 2>/dev/null'
	wait $parent || st=$?
	err=$(cat err)
	[ $st = "$1" ] || fail "exit status $st, not $1: $err"
}
child() { # NAME: the newest process of this run by that name
	local p
	for p in $(marked); do
		[ "$p" != "$parent" ] || continue
		case $(tr '\0' ' ' <"/proc/$p/cmdline") in
		*"$1"*) echo "$p" ;;
		esac
	done | tail -n 1
}

@test "TERM powers the guest down, 143; --pidfile, --ready-fd, systemd" {
	command -v python3 >/dev/null || skip "python3 is not installed"
	python3 - "$slow" >notified <<-'END' &
		import socket, sys
		note = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
		note.bind("notify")
		note.settimeout(300 * int(sys.argv[1]))
		for n in range(2):
		    print(note.recv(1000).decode(), flush=True)
	END
	listener=$!
	wait_for 30 test -S notify
	NOTIFY_SOCKET=$PWD/notify start --shutdown-timeout $((2 * slow))m --pidfile pid \
		--ready-fd 7 --dump core 7>ready
	wait_for 300 is_up
	[ "$(cat pid)" = $parent ]
	wait_for 30 test -s ready
	wait_for 30 grep -qx READY=1 notified
	kill -TERM $parent
	ends_with 143
	grep -q 'reboot: Power down' out
	[ ! -e pid ]
	[ ! -e core ]	# no panic, no dump
	wait $listener
	[ "$(cat notified)" = $'READY=1\nSTOPPING=1\nEXIT_STATUS=143' ]
	nothing_left
}

@test "INT twice ends a guest that does not listen, 130" {
	# The boot loader does not know the power button.
	start --shutdown-timeout 5m -v
	wait_for 120 begins
	kill -INT $parent
	wait_for 30 grep -q 'asked the guest to end; once more ends it' err
	kill -INT $parent
	ends_with 130
	nothing_left
}

@test "a guest that does not power down is ended after --shutdown-timeout" {
	start --shutdown-timeout 1s
	wait_for 120 begins
	kill -TERM $parent
	ends_with 143
	says "error: the guest was cut off: it did not end within the shutdown timeout of 1 s"
	[[ $err != *CONFIG_VIRTIO_FS* ]]
	nothing_left
}

@test "--timeout, 124" {
	start --timeout 3s
	ends_with 124
	says "the guest did not end within the timeout of 3 s"
	nothing_left
}

@test "QEMU killed, 122" {
	start
	wait_for 120 begins
	kill -9 "$(child qemu-system)"
	ends_with 122
	says "QEMU was killed by signal 9"
	nothing_left
}

@test "QEMU refuses to start, 125 and its own words" {
	start --qemu-arg -device --qemu-arg no-such-device
	ends_with 125
	says "QEMU refused to start"
	says "no-such-device"
	nothing_left
}

@test "a keeper killed, 123" {
	start
	wait_for 120 begins
	# The children of the run that are not QEMU: guardian, keeper, worker.
	local p pid=
	for p in $(marked); do
		case $(tr '\0' ' ' <"/proc/$p/cmdline") in
		*qemu-system*) ;;
		*) grep -q '^PPid:.*\b'"$parent"'$' "/proc/$p/status" && pid+=" $p" ;;
		esac
	done
	[ -n "$pid" ]
	# shellcheck disable=SC2086
	kill -9 ${pid##* }
	ends_with 123
	says "the file server failed"
	nothing_left
}

@test "a share that the guest's kernel does not know, and one nobody mounted" {
	mkdir other third
	job ctl <<<true
	limit=300 v run "${guest_options[@]}" --share "$PWD/ctl:ctl" \
		--share "$PWD/other:other" \
		--share "$PWD/third:third,mount=/srv/o" "$disk"
	ended 0
	says "share 'other' was offered but never mounted; in the guest: mount -t virtiofs other /mnt"
	says "share 'third' was offered but never mounted; in the guest: mount -t virtiofs third /srv/o"
	says "hint: mount= is heeded by guests with systemd 254 or later"
	[[ $err != *"share 'ctl' was offered"* ]]
	nothing_left
	wait_for 120 test -e "$W/status"
	err=$(cat "$W/err")
	[ "$(cat "$W/status")" = 124 ]
	says "the guest has not set up share 'ctl' in 60 s"
	says "the guest never set up share 'ctl'"
}

@test "a guest that reboots finds its share again; one that panics, 122" {
	job ctl <<-'END'
		echo boot >>boots
		[ "$(wc -l <boots)" = 2 ] || { sync; busybox reboot -f; sleep 60; }
		cp from-host from-guest
		# What udev would have found.
		modprobe pvpanic-mmio
		echo c >/proc/sysrq-trigger
	END
	echo again >ctl/from-host
	mkdir other
	limit=600 v run "${guest_options[@]}" --share "$PWD/ctl:ctl" \
		--share "$PWD/other:other" --status-fd 9 --dump core "$disk" 9>events
	ended 122
	says "the guest's kernel panicked"
	says "the guest's memory is in core (512"
	head -c 4 core | grep -q ELF
	rm core
	says "sysrq triggered crash"
	[ "$(wc -l <ctl/boots)" = 2 ]
	cmp ctl/from-host ctl/from-guest
	[ "$(jq -r 'select(.event == "mounted").tag' events | wc -l)" = 2 ]
	says "share 'other' was offered but never mounted"
	[[ $err != *"mount= is heeded"* ]]
	nothing_left
}

@test "kill -9 at any moment leaves nothing" {
	local delay
	for delay in 0.01 0.03 0.06 0.1 0.15 0.2 0.3 0.5 0.8 1.5 3 6; do
		start --prealloc
		sleep $delay
		kill -9 $parent
		wait $parent || true
		nothing_left || fail "after $delay s"
	done
	# And one without a disk, whose root is a share as well.
	for delay in 0.02 0.08 0.12 0.25 0.4 1 2 5; do
		"$VMSHARE" run --accel "$accel" --share "$PWD/ctl:ctl" -- sleep 300 \
			>out 2>err </dev/null &
		parent=$!
		sleep $delay
		kill -9 $parent
		wait $parent || true
		nothing_left || fail "after $delay s, without a disk"
	done
}

# QEMU's file for --ephemeral has a name for a moment, until it is open.
@test "kill -9 leaves no file of QEMU's, and neither does an end in order" {
	local signal
	standin_full "$PWD/qemu"
	# shellcheck disable=SC2016 # for the stand-in's shell
	sed -i 's,^\*) printf.*,*) mktemp "$TMPDIR/vl.XXXXXX" >ctl/up; exec sleep 300 ;;,' qemu
	for signal in KILL TERM; do
		start --qemu "$PWD/qemu" --shutdown-timeout 1s
		wait_for 20 [ -s ctl/up ]
		[ "$(find "$TMPDIR" -name 'vl.*')" = "$(cat ctl/up)" ]
		kill -$signal $parent
		wait $parent || true
		nothing_left || fail "after $signal"
	done
	# A guest that runs has none.
	start
	wait_for 180 is_up
	[ -z "$(find "$TMPDIR" -mindepth 1)" ] || fail "$(find "$TMPDIR")"
}

@test "kill -9 gives huge pages back" {
	need_huge 256
	start --memory-type hugepages=2M
	wait_for 120 begins
	[ "$(huge_pages)" != "$huge_before" ]
	kill -9 $parent
	wait $parent || true
	nothing_left
}

@test "kill -9 of everything but QEMU ends QEMU" {
	start
	wait_for 120 begins
	local p
	for p in $(marked); do
		case $(tr '\0' ' ' <"/proc/$p/cmdline") in
		*qemu-system*) ;;
		*) kill -9 "$p" 2>/dev/null || true ;;
		esac
	done
	wait $parent || true
	nothing_left
}

# in_terminal SCRIPT: run it by sh on a terminal of its own; its text in `tty`
in_terminal() {
	cat >in-terminal.sh
	timeout $((200 * slow)) script -qefc "sh ./in-terminal.sh" typescript >/dev/null </dev/null
	tty=$(cat typescript)
}

@test "the terminal is as it was: after a run, a signal, a kill -9" {
	command -v script >/dev/null || skip "script is not installed"
	job ctl <<<true
	export ctl=$PWD/ctl options="${guest_options[*]}" disk
	in_terminal <<-'END'
		stty -g >before
		"$VMSHARE" run $options --share $ctl:ctl $disk
		echo "status $?"
		stty -g >after
	END
	[[ $tty == *"status 0"* ]]
	cmp before after
	# A shell without jobs gives what is in the background no input.
	in_terminal <<-'END'
		"$VMSHARE" run $options --shutdown-timeout 1s \
			--share $ctl:ctl $disk </dev/tty &
		while stty -g >during && cmp -s before during; do sleep 0.1; done
		kill -TERM $!
		wait $!
		stty -g >after
	END
	! cmp -s before during || fail "it was never changed"
	cmp before after
	in_terminal <<-'END'
		"$VMSHARE" run $options --share $ctl:ctl $disk </dev/tty &
		while stty -g >during && cmp -s before during; do sleep 0.1; done
		kill -9 $!
		for try in $(seq 100); do
			stty -g >after
			! cmp -s before after || break
			sleep 0.1
		done
	END
	! cmp -s before during || fail "it was never changed"
	cmp before after
	nothing_left
}
