#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# Messages of the preflight that depend on the machine: each is provoked and
# compared in full.

load helper

setup() {
	cd "$BATS_TEST_TMPDIR" || return 1
	mkdir -p src
	bootable disk.img
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
	if grep -qwE 'vmx|svm' /proc/cpuinfo && [ -w /dev/kvm ]; then
		skip "this machine has KVM"
	fi
	v check disk.img
	ended 0
	says "; using TCG, which is much slower"
}

@test "firmware that is not installed" {
	! grep -ls '"aarch64"' /usr/share/qemu/firmware/*.json ||
		skip "firmware for aarch64 is installed"
	refused 125 "no UEFI firmware for aarch64 is described in /usr/share/qemu/firmware" \
		"$(if [ -e /etc/debian_version ]; then
			echo "sudo apt install qemu-efi-aarch64"
		fi)" \
		run --arch aarch64 --accel tcg disk.img
}

@test "disk: a directory, an empty file, in use" {
	local locker
	refused 125 "src: is a directory, not a disk image" \
		"to boot it as a tree: --root DIR" run src
	: >empty.img
	refused 125 "empty.img: is empty" - run empty.img
	command -v python3 >/dev/null || skip "python3 is not installed"
	# As QEMU locks a disk that it writes to.
	python3 - >locked <<-'END' &
		import fcntl, struct, time
		f = open("disk.img", "r+b")
		for byte in 101, 201:
		    fcntl.fcntl(f, fcntl.F_OFD_SETLK,
		                struct.pack("hhqqi4x", fcntl.F_RDLCK, 0, byte, 1, 0))
		print("yes", flush=True)
		time.sleep(60)
	END
	locker=$!
	wait_for 30 test -s locked
	refused 125 "disk.img: in use by another process (pid $locker python3)" \
		"stop it, or make a copy of the disk" run --accel tcg disk.img
	refused 125 "disk.img: in use by another process (pid $locker python3)" \
		"stop it, or make a copy of the disk" \
		run --ephemeral --accel tcg disk.img
	kill $locker
	wait $locker || true
	v check --accel tcg disk.img
	ended 0
}

@test "what users of containers and of QEMU type" {
	refused 125 "share 'data': src:code:/data: no such directory" \
		"a tag follows the directory, then options: --share src:code,mount=/data" \
		run --share src:code:/data
	refused 125 "share 'ro': src:code:/data: no such directory" \
		"a tag follows the directory, then options: --share src:code,mount=/data,ro" \
		run --share src:code:/data:ro
	refused 125 "share 'mnt': src:/mnt: no such directory" \
		"a tag follows the directory, then options: --share src:mnt,mount=/mnt" \
		run --share src:/mnt disk.img
	refused 125 "share 'ro': src:/a/b: no such directory" \
		"a tag follows the directory, then options: --share src:b,mount=/a/b,ro" \
		run --share src:/a/b:ro
	refused 125 "share 'ro': src:t: no such directory" \
		"a tag follows the directory, then options after commas: --share src:t,ro" \
		run --share src:t:ro disk.img
	refused 125 "src:/mnt boots by itself, so vmshare can't run 'true' in it" \
		"to share a directory: --share src:/mnt" run -v src:/mnt -- true
	refused 125 "unknown option '--mem'" "did you mean --memory?" \
		run --mem 1G disk.img
	refused 125 "unexpected argument 'src'" "to share it: --share src" \
		serve src --socket s
	refused 125 "serve: needs one --share, not 0" "give it: --share DIR" \
		serve --socket s
	refused 125 "serve: needs one --share, not 2" \
		"start one 'vmshare serve' for each share" \
		serve --socket s --share src:a --share src:b
	refused 125 "--qemu-arg '-device virtio-rng-pci': is more than one word" \
		"give one for each word: --qemu-arg -device --qemu-arg virtio-rng-pci" \
		run --accel tcg --qemu-arg '-device virtio-rng-pci' disk.img
	# The value of an option may have blanks, and begin with a dash.
	v check --accel tcg --qemu-arg -name --qemu-arg '-my name' disk.img
	ended 0
	refused 125 "--read-only: there is no disk" \
		"a share is made so by ro: --share DIR:TAG,ro" \
		run --read-only --share src
	refused 125 "--ephemeral and --root-rw exclude each other" - \
		run --root src --root-rw --ephemeral
	refused 125 "no help for 'rum'" "did you mean 'run'?" help rum
	refused 125 "completion: bash, zsh or fish is wanted" \
		'as in: eval "$(vmshare completion bash)"' completion tcsh
}

@test "what stops a run is not hidden among what would slow it down" {
	v run --accel tcg -s src:ro -s gone disk.img
	ended 125
	[ "$(wc -l <err)" = 2 ]
	says "vmshare: error: share 'gone': gone: no such directory"
	v check --accel tcg -s src:ro -s gone disk.img
	ended 125
	says "vmshare: warning: share 'ro': that is its tag"
	says "vmshare: error: share 'gone': gone: no such directory"
}

@test "check: five things wrong on this machine, each with its way out" {
	standin bare 7.2.0 virtio-blk-pci
	v check -s gone -s /:t -m 16000G bare.img
	ended 125 # the whole host: refused before anything is looked at
	v check --accel tcg -s "$PWD/gone" -s src:t,open-files=1000000 \
		-m 16000G --memory-type "file=$PWD" --qemu "$PWD/bare" \
		--status-fd 77 gone.img
	ended 125
	silent_on out
	says "error: share 'gone': $PWD/gone: no such directory"
	says "error: share 't': open-files 1000000 is more than the open-file limit"
	says "needed; the guest would die of SIGBUS later"
	says "error: $PWD/bare: this build has no vhost-user-fs device"
	says "error: --status-fd 77: descriptor is not open"
	says "error: gone.img: no such file"
	[ "$(grep -c '^vmshare: error: ' <<<"$err")" = 6 ]
	[ "$(grep -c '^vmshare: hint: ' <<<"$err")" -ge 4 ]
}

# on_tty TERM COMMAND...: what it says on a terminal of its own, as Python has it
on_tty() {
	python3 - "$@" <<-'END'
		import os, pty, sys
		pid, fd = pty.fork()
		if pid == 0:
		    os.environ["TERM"] = sys.argv[1]
		    os.execv(sys.argv[2], sys.argv[2:])
		said = b""
		try:
		    while part := os.read(fd, 4096):
		        said += part
		except OSError:
		    pass
		os.waitpid(pid, 0)
		print(ascii(said.decode()))
	END
}

@test "on a terminal the way out of a guest's console is said" {
	command -v python3 >/dev/null || skip "python3 is not installed"
	way="vmshare: note: this is the guest's console; ^A x ends the guest"
	on_tty xterm "$VMSHARE" run --accel tcg disk.img >said
	grep -qF "$way" said || fail "$(cat said)"
	on_tty xterm "$VMSHARE" run -q --accel tcg disk.img >said
	! grep -qF "$way" said || fail "$(cat said)"
	on_tty xterm "$VMSHARE" run --console none --accel tcg disk.img >said
	! grep -qF "$way" said || fail "$(cat said)"
	v run --accel tcg disk.img
	[[ $err != *"$way"* ]] || fail "$err"
}

@test "a wait is shown on a terminal, and nowhere else" {
	command -v python3 >/dev/null || skip "python3 is not installed"
	cat >slow <<-END
		#!/bin/sh
		case "\$*" in
		*-version*|*help*) exec $PWD/qemu "\$@" ;;
		*) sleep 3; exit 1 ;;
		esac
	END
	chmod +x slow
	export VMSHARE_QEMU=$PWD/slow
	run=(run --accel tcg --console none -s src disk.img)
	on_tty xterm "$VMSHARE" "${run[@]}" >said
	grep -qF '\rvmshare: the guest boots: 1 s \x1b[K' said || fail "$(cat said)"
	grep -qF '\r\x1b[Kvmshare: error: ' said || fail "$(cat said)"
	# No colour, no banner, and what is rewritten is one line.
	[ "$(sed 's/\\x1b\[K//g' said | grep -c 'x1b')" = 0 ]
	for quiet in "dumb $VMSHARE ${run[*]}" "xterm $VMSHARE ${run[*]} -q"; do
		# shellcheck disable=SC2086 # words
		on_tty $quiet >said
		grep -qF 'vmshare: error: ' said || fail "$(cat said)"
		! grep -qE 'boots|x1b' said || fail "$(cat said)"
	done
	v "${run[@]}"
	ended 125
	[[ $err != *boots* && $err != *$'\033'* ]] || fail "$err"
}

@test "what is too much, too little or another's" {
	local list
	list="$(printf -- '--disk disk.img %.0s' $(seq 16)) $(printf -- '--share src:t%s ' $(seq 13))"
	# shellcheck disable=SC2086 # words
	refused 125 "16 disks and 13 shares: the machine has room for 28 in all" - \
		run --accel tcg $list
	refused 125 "numa: 2 MiB is too little for 2 more nodes" - run -m 64M \
		-p 3 --numa cpus=0,memory=62M --numa cpus=1 --numa cpus=2 disk.img
	refused 125 "--append: must be one line" - run --append $'a\nb'
	printf '%s\n' '[share a]' 'socket = /x' >s.conf
	refused 125 "serve: share 'a' has another server" - \
		serve -c s.conf --socket s
	LISTEN_FDS=1 LISTEN_PID=1 refused 125 \
		"serve needs --socket PATH or --fd N" - serve -s src
	refused 125 "--announce-submounts: takes no value" - \
		--fd 3 --shared-dir src --announce-submounts=yes
	refused 125 "--inode-file-handles maybe: must be never or prefer" - \
		--fd 3 --shared-dir src --inode-file-handles maybe
	refused 125 "--posix-acl maybe: must be never, auto or always" - \
		--fd 3 --shared-dir src --posix-acl=maybe
	refused 125 "-o timeout soon: must be seconds" - \
		-o source=src,timeout=soon --fd 3
	refused 125 "--daemonize: refused: vmshare stays in the foreground" - \
		--fd 3 --shared-dir src --daemonize
	status=0
	"$VMSHARE" version >/dev/full 2>err || status=$?
	[ "$status" = 125 ] || fail "status $status"
	grep -q "^vmshare: error: can't write to stdout: No space left" err
}

@test "a share that can't be written to" {
	[ "$(id -u)" = 0 ] || skip "needs root to mount"
	vmshare=$VMSHARE
	# shellcheck disable=SC2016 # for the inner shell
	VMSHARE=unshare v --mount sh -c 'mount --bind src src &&
		mount -o remount,bind,ro src && exec "$@"' - "$vmshare" \
		check --accel tcg -s src:t disk.img
	ended 0
	says "warning: share 't': src: on a read-only file system for uid 0, so the guest can't create files there"
	says "hint: add ro to say that this is meant"
}

@test "kernels: none, without its modules, a line too long for it" {
	local k image=
	[ "$(id -u)" = 0 ] || skip "needs root to mount"
	vmshare=$VMSHARE
	# shellcheck disable=SC2016 # for the inner shell
	VMSHARE=unshare refused 125 \
		"no kernel: neither /boot/vmlinuz-* nor /lib/modules/*/vmlinuz" \
		"$([ ! -e /etc/debian_version ] || echo "sudo apt install linux-image-")" \
		--mount sh -c 'mount -t tmpfs none /boot &&
		mount -t tmpfs none /lib/modules && exec "$@"' - "$vmshare" \
		run --accel tcg -- true
	says "give one with --kernel FILE"
	for k in /boot/vmlinuz-*; do
		[ ! -r "$k" ] || image=$k
	done
	echo no kernel >junk
	refused 125 "kernel $PWD/junk: not a kernel image that QEMU can boot" - \
		run --accel tcg --kernel "$PWD/junk" -- true
	[ -n "$image" ] || skip "no kernel in /boot"
	refused 125 "no modules for kernel $image (version " \
		"name the directory that has its modules.dep with --modules DIR" \
		run --accel tcg --kernel "$image" --modules src -- true
	mkdir -p tree/lib/modules/1.2.3
	: >tree/lib/modules/1.2.3/modules.dep
	refused 125 "modules tree/lib/modules/1.2.3: are of version 1.2.3, and kernel" - \
		run --accel tcg --kernel "$image" --modules tree/lib/modules/1.2.3 -- true
	refused 125 "no kernel: neither tree/boot/vmlinuz-* nor tree/lib/modules/*/vmlinuz" \
		"give one with --kernel FILE" \
		run --accel tcg --root tree --kernel root -- true
	refused 125 "--append: the kernel's command line would be too long" - \
		run --accel tcg --append "$(printf '%03000d' 0)" -- true
}

@test "another architecture: without a disk it needs its own vmshare" {
	local other=aarch64 host=x86_64 cmd k
	[ "$(uname -m)" = x86_64 ] || { other=x86_64 host=aarch64; }
	for cmd in run check; do
		refused 125 "--arch $other: a guest without a disk or an initrd is started by vmshare itself, which is here for $host" \
			"give a disk, or --kernel and --initrd, or the vmshare of $other: --init FILE" \
			"$cmd" --arch $other -- true
	done
	refused 125 "--init $VMSHARE: is a program for $host, and the guest is $other" \
		"give the vmshare of $other with --init FILE" \
		run --arch $other --init "$VMSHARE" -- true
	for k in /boot/vmlinuz-*; do
		[ ! -r "$k" ] || refused 125 "kernel $k: is for $host, and the guest is $other" \
			"give one for $other with --kernel FILE" \
			run --arch $other --init "$VMSHARE" --kernel "$k" -- true
	done
}

@test "each mistake with the words that mend it" {
	: >file
	refused 125 "share 'file': file is a file, not a directory" \
		"share the directory that it is in" run -s file disk.img
	refused 125 "memory 15.6 TiB exceeds this host's " \
		"give less with --memory" run --accel tcg -m 16000G disk.img
	refused 125 "--qemu-arg -m: contradicts --memory" \
		"give --memory SIZE instead" \
		run --accel tcg --qemu-arg -m --qemu-arg 2G disk.img
	refused 125 "--qemu-arg -smp: contradicts --cpus" \
		"give --cpus N instead" \
		run --accel tcg --qemu-arg -smp --qemu-arg 2 disk.img
	refused 125 "--qemu-arg -numa: contradicts --numa" \
		"give --numa instead" \
		run --accel tcg --qemu-arg -numa --qemu-arg node disk.img
	refused 125 "--qemu-arg -object: would add memory that is not shared" \
		"add share=on" run --accel tcg --qemu-arg -object \
		--qemu-arg memory-backend-ram,id=x,size=1G disk.img
	standin bare 7.2.0 virtio-blk-pci
	refused 125 "$PWD/bare: this build has no vhost-user-fs device" \
		"give another QEMU with --qemu FILE" \
		run --accel tcg --qemu "$PWD/bare" -s src disk.img
	standin_full old 2.11.0
	refused 125 "$PWD/old 2.11 is too old; 4.2 or later is needed" \
		"give another QEMU with --qemu FILE" \
		run --accel tcg --qemu "$PWD/old" disk.img
	: >plain
	refused 126 "$PWD/plain: is not an executable file" \
		"give another QEMU with --qemu FILE" \
		run --accel tcg --qemu "$PWD/plain" disk.img
	(
		ulimit -v 2000000
		refused 125 "memory 4 GiB is more than RLIMIT_AS allows (1.9 GiB)" \
			"ulimit -v unlimited" run --accel tcg -m 4G disk.img
	)
	[ "$(id -u)" = 0 ] || skip "needs root to become somebody else"
	mkdir -m 700 mine
	install -m 755 "$VMSHARE" vmshare
	chmod 755 . .. ../.. 2>/dev/null || true
	VMSHARE=setpriv refused 125 \
		"share 'mine': mine: permission denied for uid 65534 (mode 0700, owner root)" \
		"share a directory of your own, or: sudo setfacl -m u:65534:rwx mine" \
		--reuid 65534 --regid 65534 --clear-groups ./vmshare run \
		--accel tcg --share mine disk.img
	# Not for another's home, nor for the system's own.
	VMSHARE=setpriv refused 125 \
		"share 'root': /root: permission denied for uid 65534" \
		"share a directory of your own" \
		--reuid 65534 --regid 65534 --clear-groups ./vmshare run \
		--accel tcg --share /root disk.img
	[[ $err != *setfacl* ]] || fail "$err"
}

@test "a socket of systemd's that is none for a file server" {
	command -v python3 >/dev/null || skip "python3 is not installed"
	python3 - "$VMSHARE" 2>err <<-'END' || status=$?
		import os, socket, sys
		s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
		s.bind("dgram")
		os.dup2(s.fileno(), 3)
		os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
		os.execv(sys.argv[1], ["vmshare", "serve", "-s", "src"])
	END
	[ "$status" = 125 ] || fail "status $status"
	grep -q "^vmshare: error: .* 3: not a stream socket" err || fail "$(cat err)"
}

@test "a domain for libvirt names what it leaves out" {
	v libvirt-xml --accel tcg --memory-type "file=$PWD" --qemu-arg -S \
		--forward tcp:2222:22 -s src:t,writeback,noatime disk.img
	ended 0
	says "note: memory-type file=$PWD: libvirt takes the directory from memory_backing_dir in qemu.conf"
	says "note: share 't': libvirt can't say writeback"
	says "note: share 't': libvirt can't say noatime"
	says "note: --forward: libvirt needs passt for it; left out"
	says "note: --qemu-arg: left out"
	v libvirt-xml --accel tcg \
		-s src:t,uid-map=0:100000:1000,gid-map=0:100000:1000 disk.img
	ended 0
	says "note: share 't': a libvirt before 10.0 ignores uid-map and gid-map"
}

@test "another version's, and nobody's, statistics" {
	command -v python3 >/dev/null || skip "python3 is not installed"
	local tag=old-$$-$RANDOM
	python3 - "$tag" >there <<-'END' &
		import os, sys, time
		about = os.memfd_create("vmshare-about")
		os.write(about, ("command=serve\0start=0\0share=0\0tag=%s\0dir=/x\0" % sys.argv[1]).encode())
		stats = os.memfd_create("vmshare-stats-0")
		os.write(stats, b"another" * 4096)
		print("yes", flush=True)
		time.sleep(60)
	END
	other=$!
	wait_for 30 test -s there
	v stat "$tag"
	ended 125
	says "warning: pid $other is another version of vmshare"
	v restart "$tag"
	ended 125
	says "error: restart: pid $other is a version of vmshare that can't be asked"
	kill $other
	wait $other || true
	"$VMSHARE" serve -s "src:$tag" --socket s 2>served.err </dev/null &
	other=$!
	wait_for 30 eval '"$VMSHARE" ps | grep -q "$tag="'
	kill -STOP $other
	"$VMSHARE" restart "$tag" 2>err </dev/null &
	asks=$!
	sleep 1
	kill -9 $other
	wait $other || true
	status=0
	wait $asks || status=$?
	[ $status = 125 ]
	err=$(cat err)
	says "error: restart: share '$tag' of pid $other: No such process"
	[ "$(id -u)" = 0 ] || return 0
	install -m 755 "$VMSHARE" vmshare
	chmod 755 . .. ../.. 2>/dev/null || true
	VMSHARE=setpriv refused 125 "stat: no share is running" \
		"'vmshare ps' lists what runs" --reuid 54321 --regid 54321 \
		--clear-groups ./vmshare stat
}

@test "QEMU that leaves a file server, and a server that dies under it" {
	local p keeper
	cat >leaves <<-END
		#!/bin/bash
		case "\$*" in
		*-version*|*help*) exec $PWD/qemu "\$@" ;;
		esac
		touch started
		[ ! -e stay ] || exec sleep 60
		for fd in /proc/self/fd/*; do
			fd=\${fd##*/}
			[ "\$fd" -lt 3 ] || eval "exec \$fd>&-"
		done
		exec sleep 60
	END
	chmod +x leaves
	export VMSHARE_QEMU=$PWD/leaves
	v run --accel tcg --console none -s src:t disk.img
	ended 123
	says "error: QEMU left a file server but goes on; ending it"
	: >stay
	rm started
	mark
	"$VMSHARE" run --accel tcg --console none -s src:t disk.img >out 2>err \
		</dev/null &
	parent=$!
	wait_for 30 test -e started
	# Its children are the guardian, the keeper and QEMU, in this order.
	keeper=$(pgrep -P $parent | sed -n 2p)
	kill -9 "$keeper"
	status=0
	wait $parent || status=$?
	[ "$status" = 123 ] || fail "status $status: $(cat err)"
	grep -qE "error: share 't': the file server failed \(killed by signal 9, Killed\); ending the guest, which would hang" err ||
		fail "$(cat err)"
	nothing_left
}

@test "a console whose words are lost" {
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
		eval "echo 'words of a console' >&\$fd"
		sleep 1
	END
	chmod +x talks
	status=0
	VMSHARE_QEMU=$PWD/talks "$VMSHARE" run --accel tcg disk.img >/dev/full \
		2>err </dev/null || status=$?
	[ "$status" = 0 ] || fail "status $status: $(cat err)"
	grep -q "warning: the console's output is not all there: No space left" err ||
		fail "$(cat err)"
}

@test "a guest that fails, or ends early" {
	local k image=
	for k in /boot/vmlinuz-*; do
		[ ! -r "$k" ] || image=$k
	done
	[ -n "$image" ] || skip "no kernel in /boot"
	unset VMSHARE_QEMU
	command -v qemu-system-x86_64 >/dev/null || skip "no QEMU"
	limit=240
	guest=(run --accel tcg --cpus 1 --timeout 3m)
	v "${guest[@]}" --user nobody-here -- true
	ended 122
	says "error: the guest failed: no user 'nobody-here' in the guest"
	v "${guest[@]}" -- sh -c 'echo b >/proc/sysrq-trigger; sleep 60'
	ended 122
	says "error: the guest ended before its command did"
}

@test "a share that holds its guest's disk" {
	v check --accel tcg -s "$PWD:t" disk.img
	ended 0
	says "share 't' contains the guest's own disk disk.img"
}

@test "completions know each command and what values are" {
	v completion bash
	ended 0
	# What bash would offer for the line before the cursor.
	offers() {
		bash -c 'eval "$(cat)"; COMP_LINE=$1 COMP_POINT=${#1}
			compopt() { :; }; _vmshare; echo "${COMPREPLY[*]}"' \
			- "$1" <out
	}
	[ "$(offers "vmshare ru")" = run ]
	[ "$(offers "vmshare res")" = restart ]
	[ "$(offers "vmshare run --epheme")" = --ephemeral ]
	[ "$(offers "vmshare run --accel k")" = kvm ]
	[ "$(offers "vmshare run --accel=k")" = kvm ]
	[ "$(offers "vmshare run --memory-type ")" = "memfd hugepages file=" ]
	[ "$(offers "vmshare run --share sr")" = src ]
	[ "$(offers "vmshare run --share=sr")" = src ]
	[ "$(offers "vmshare run --share src:t")" = "" ]
	[ "$(offers "vmshare run --share src:t,ca")" = "t,cache=auto t,cache=always t,cache=none" ]
	[ "$(offers "vmshare run -s src:t,ro,cache=al")" = always ]
	[ "$(offers "vmshare run --kernel disk")" = disk.img ]
	[ "$(offers "vmshare run --memory di")" = "" ]
	[ "$(offers "vmshare run di")" = disk.img ]
	[ "$(offers "vmshare serve --on")" = --once ]
	[ "$(offers "vmshare help li")" = libvirt-xml ]
	[ "$(offers "vmshare completion z")" = zsh ]
	v completion fish
	ended 0
	prints "complete -c vmshare"
	v completion zsh
	ended 0
	prints "#compdef vmshare"
	v completion tcsh
	ended 125
}

# typed SHELL FILE LINE: the words of LINE, with its tabs, as the shell that
# has read FILE gives them to a command
typed() {
	python3 - "$@" <<-'END'
		import os, pty, re, select, sys, time
		shell, file, line = sys.argv[1:]
		pid, fd = pty.fork()
		if pid == 0:
		    os.environ.update(TERM="dumb", PS1="", HOME=os.getcwd())
		    args = {"bash": ["--norc", "--noprofile", "-i"], "zsh": ["-f", "-i"]}
		    os.execvp(shell, [shell] + args[shell])
		said = b""
		def until(text):
		    global said
		    end = time.monotonic() + 30
		    while text not in said:
		        if not select.select([fd], [], [], max(0, end - time.monotonic()))[0]:
		            sys.exit("no %r in %r" % (text, said))
		        said += os.read(fd, 4096)
		if shell == "zsh":
		    os.write(fd, b"autoload -U compinit; compinit -D -u\n")
		os.write(fd, (". ./%s; vmshare() { echo '<'\"$*\"'>'; }; echo rea''dy\n" % file).encode())
		until(b"ready")
		said = b""
		os.write(fd, line.replace(r"\t", "\t").encode() + b"\n")
		until(b">\r\n")
		print(re.findall(rb"<(.*)>\r\n", said)[-1].decode())
		os.write(fd, b"exit\n")
	END
}

@test "completions work in the shells themselves" {
	command -v python3 >/dev/null || skip "python3 is not installed"
	local shell line
	for shell in bash zsh fish; do
		"$VMSHARE" completion $shell >comp.$shell
	done
	line='vmshare ru\t--ephem\t--acc\tk\t--kern\tdisk\t'
	[ "$(typed bash comp.bash "$line")" = \
		"run --ephemeral --accel kvm --kernel disk.img" ]
	[ "$(typed bash comp.bash 'vmshare run --accel=k\t--share src:t,cache=al\t')" = \
		"run --accel=kvm --share src:t,cache=always" ]
	if command -v zsh >/dev/null; then
		[ "$(typed zsh comp.zsh 'vmshare serv\t--on\t')" = "serve --once" ]
		[ "$(typed zsh comp.zsh 'vmshare run --ephem\t--disk-f\tqc\t')" = \
			"run --ephemeral --disk-format=qcow2" ]
	fi
	command -v fish >/dev/null || skip "fish is not installed"
	export HOME=$PWD
	[ "$(fish -c 'source comp.fish; complete -C "vmshare ru"')" = run ]
	[[ $(fish -c 'source comp.fish; complete -C "vmshare run --ephe"') == --ephemeral$'\t'* ]]
	[ "$(fish -c 'source comp.fish; complete -C "vmshare run --accel k"' | cut -f 1)" = kvm ]
	[ "$(fish -c 'source comp.fish; complete -C "vmshare run --kernel disk"')" = disk.img ]
}

@test "a domain for libvirt that its schema accepts" {
	command -v virt-xml-validate >/dev/null || skip "no virt-xml-validate"
	command -v xmllint >/dev/null || skip "no xmllint"
	v libvirt-xml --accel tcg -p 2 --numa memory=512M --numa memory=512M \
		--memory-type hugepages=2M -s "src:a&b,ro,cache=always" \
		--share-socket /run/x:ext --ephemeral disk.img
	ended 0
	virt-xml-validate out domain
	refused 125 "libvirt-xml: a guest that vmshare's own init boots is not for libvirt" \
		"give a disk that boots by itself" libvirt-xml --accel tcg
}
