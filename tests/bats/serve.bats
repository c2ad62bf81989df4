#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# The file server alone, under a QEMU that somebody else starts: by socket
# path, by descriptor, by systemd's; once and again; reboots; memory that is
# not shared.

load helper

setup_file() {
	image disk
	command -v qemu-system-x86_64 >/dev/null || export SKIP="no QEMU"
}

setup() {
	may_run
	cd "$BATS_TEST_TMPDIR" || return 1
	mark
	job ctl <<-'END'
		uname -r && cp from-host from-guest
	END
	echo "hello $RANDOM" >ctl/from-host
}

teardown() {
	local p
	for p in $(marked); do kill -9 "$p" 2>/dev/null || true; done
}

# hand: QEMU by hand with ./s as the ctl share
hand() {
	local memory=(-machine q35)
	[ "${backend:=memory-backend-memfd,share=on}" = none ] ||
		memory=(-machine "q35,memory-backend=m"
			-object "$backend,id=m,size=512M")
	timeout 900 "${hand_qemu[@]}" "${memory[@]}" \
		-drive "file=$disk,format=raw,if=virtio,snapshot=on" \
		-chardev "socket,id=c,path=${socket:-s}" \
		-device vhost-user-fs-pci,chardev=c,tag=ctl,queue-size=1024 \
		>console 2>qemu-err </dev/null
}
serve() { # in the background; $server is its pid
	"$VMSHARE" serve "$@" >served.out 2>served.err </dev/null &
	server=$!
}
exchanged() {
	[ "$(cat ctl/status)" = 0 ] || fail "$(cat ctl/log qemu-err)"
	cmp ctl/from-host ctl/from-guest
}

@test "by path: again after a client, and for a guest that reboots" {
	serve --socket s --share ctl:ctl
	wait_for 60 test -S s
	hand
	exchanged
	rm ctl/status ctl/from-guest
	cat >ctl/job <<-'END'
		echo boot >>boots
		[ "$(wc -l <boots)" = 2 ] || { sync; busybox reboot -f; sleep 60; }
		cp from-host from-guest
	END
	echo again >ctl/from-host
	hand_qemu=("${hand_qemu[@]/-no-reboot/-no-user-config}")
	hand
	exchanged
	[ "$(wc -l <ctl/boots)" = 2 ]
	kill -TERM $server
	wait $server
	[ ! -e s ]
	[ ! -s served.out ]
	nothing_left
}

@test "by a listening descriptor, as libvirt does; --once ends with its client" {
	command -v python3 >/dev/null || skip "python3 is not installed"
	python3 - "$VMSHARE" >served.out 2>served.err <<-'END' &
		import os, socket, sys
		s = socket.socket(socket.AF_UNIX)
		s.bind("s")
		s.listen(1)
		os.dup2(s.fileno(), 17)
		os.execv(sys.argv[1], ["vmshare", "serve", "--fd", "17", "--once",
		                       "--share", "ctl:ctl"])
	END
	server=$!
	wait_for 60 test -S s
	hand
	exchanged
	wait_for 60 eval '! kill -0 $server 2>/dev/null'
	wait $server
	nothing_left
}

@test "by systemd's descriptor, with READY=1 to its notify socket" {
	command -v python3 >/dev/null || skip "python3 is not installed"
	# As the unit has it.
	unit=$(sed -n 's/^ExecStart=//p' "$top/doc/systemd/vmshare-serve@.service")
	[ "$unit" = "/usr/bin/vmshare serve --config /etc/vmshare/%i.conf" ]
	unit=${unit#* }
	printf '[share ctl]\ndir = ctl\n' >ctl.conf
	python3 - "$VMSHARE" "${unit//'/etc/vmshare/%i'/ctl}" \
		>notified 2>served.err <<-'END'
		import os, signal, socket, subprocess, sys
		note = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
		note.bind("notify")
		note.settimeout(20)
		s = socket.socket(socket.AF_UNIX)
		s.bind("s")
		s.listen(1)
		pid = os.fork()
		if pid == 0:
		    os.dup2(s.fileno(), 3)
		    os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()),
		                      NOTIFY_SOCKET=os.getcwd() + "/notify")
		    os.execv(sys.argv[1], ["vmshare"] + sys.argv[2].split())
		print(note.recv(1000).decode(), flush=True)
		os.kill(pid, signal.SIGTERM)
		print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
	END
	[ "$(head -n 1 notified)" = READY=1 ]
	[ "$(tail -n 1 notified)" = 0 ]
	nothing_left
}

@test "idle, it and its processes have less than 2 MiB" {
	local p kib=0
	serve --socket s --share ctl:ctl
	wait_for 60 test -S s
	for p in $(marked); do
		kib=$((kib + $(awk '/^Pss:/ { print $2 }' "/proc/$p/smaps_rollup")))
	done
	[ "$kib" -gt 0 ] && [ "$kib" -lt 2048 ] || fail "$kib KiB"
}

@test "killed with -9: no process and no socket stays" {
	serve --socket s --share ctl:ctl
	wait_for 60 test -S s
	kill -9 $server
	wait $server || true
	wait_for 60 test ! -e s
	nothing_left
}

@test "a path that another server listens on is not taken" {
	serve --socket s --share ctl:ctl
	wait_for 60 test -S s
	refused 125 "--socket s: another process listens on it" - \
		serve --socket s --share ctl:ctl
	[ -S s ]
	kill -TERM $server
	wait $server
	[ ! -e s ]
}

@test "memory that is not shared is named within seconds" {
	local backend
	for backend in memory-backend-memfd,share=off none; do
		serve --socket s --share ctl:ctl
		wait_for 60 test -S s
		hand &
		wait_for 600 grep -q "memory is not shared" served.err
		pkill -TERM -P $! || true
		grep -q "hint: .*share=on" served.err
		kill -TERM $server
		wait $server
	done
}

@test "memory that is plugged in while the guest runs" {
	job ctl <<-'END'
		set -ex
		total() { awk '/MemTotal/ { print $2 }' /proc/meminfo; }
		before=$(total)
		echo up >up
		sleep 1
		until blocks=$(grep -l offline /sys/devices/system/memory/*/state); do
			sleep 1
		done
		sleep 2
		for b in $(grep -l offline /sys/devices/system/memory/*/state); do
			echo online >$b
		done
		[ $(total) -gt $((before + 400000)) ]
		# More than there was: some of it goes where it was plugged in.
		sha256sum big >sum
		cp from-host from-guest
	END
	echo again >ctl/from-host
	seq 1 90000000 | head -c 700M >ctl/big
	mkfifo monitor
	serve --socket s --share ctl:ctl
	wait_for 10 test -S s
	# The last of a kind counts.
	hand_qemu+=(-m "512M,slots=2,maxmem=2G" -serial file:console -monitor stdio)
	hand_qemu=("${hand_qemu[@]/#stdio/null}")
	hand_qemu[-1]=stdio
	(
		exec 6<>monitor
		wait_for 300 test -e ctl/up
		echo object_add memory-backend-memfd,id=m1,size=512M,share=on >&6
		echo device_add pc-dimm,id=d1,memdev=m1 >&6
		sleep 300
	) 3>&- &
	local plugger=$!
	timeout 900 "${hand_qemu[@]}" -machine q35,memory-backend=m \
		-object memory-backend-memfd,share=on,id=m,size=512M \
		-drive "file=$disk,format=raw,if=virtio,snapshot=on" \
		-chardev socket,id=c,path=s \
		-device vhost-user-fs-pci,chardev=c,tag=ctl,queue-size=1024 \
		<monitor >monitor.out 2>qemu-err
	pkill -P $plugger || true
	kill $plugger || true
	exchanged
	[ "$(cat ctl/sum)" = "$(cd ctl && sha256sum big)" ]
	kill -TERM $server
	wait $server
	rm ctl/big
}

@test "the command of --dry-run works when pasted next to serve --once" {
	v run "${guest_options[@]}" --dry-run --share ctl:ctl "$disk"
	ended 0
	cp "$BATS_TEST_TMPDIR/out" pasted
	# It names the socket that serve must listen on.
	socket=$(grep -oE 'path=[^, '"'"']*ctl[^, '"'"']*' pasted | head -n 1)
	socket=${socket#path=}
	[ -n "$socket" ]
	serve --socket "$socket" --share ctl:ctl --once
	wait_for 60 test -S "$socket"
	timeout 900 sh ./pasted >console 2>qemu-err </dev/null
	exchanged
	wait_for 60 eval '! kill -0 $server 2>/dev/null'
	wait $server
	[ ! -e "$socket" ]
	nothing_left
}
