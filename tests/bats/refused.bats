#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# Every mistake gets one line that names the thing, the value and the limit, a
# hint that mends it, and its exit status; nothing was started.

load helper

setup() {
	cd "$BATS_TEST_TMPDIR" || return 1
	mkdir -p src other
	standin_full qemu
	bootable disk.img
	export VMSHARE_QEMU=$PWD/qemu
}

@test "no command, an unknown one, a mistyped one" {
	v
	ended 125
	refused 125 "unknown command 'rum'" "did you mean 'run'?" rum
	refused 125 "unknown command 'frobnicate'" - frobnicate
}

@test "options: unknown, mistyped, without their value" {
	refused 125 "unknown option '--memry'" "did you mean --memory?" run --memry 1G
	refused 125 "unknown option '--frobnicate'" "try 'vmshare run --help'" \
		run --frobnicate
	refused 125 "unknown option '-x'" - run -x
	refused 125 "--memory: needs a value, as in --memory SIZE" - run --memory
	refused 125 "--ephemeral maybe: must be on or off" - run --ephemeral=maybe
	refused 125 "unexpected argument 'x'" - serve x
}

@test "what is typed on the first day" {
	refused 125 "unknown option '-share'" "did you mean --share?" \
		run -share src disk.img
	refused 125 "src:t: no such file" "to share it: --share src:t" \
		run src:t disk.img
	refused 125 "true: no such file" \
		"a command follows '--': vmshare run -- true" run disk.img true
	refused 125 "share 'src,ro': tag 'src,ro' has a character that tags can't have" \
		"options follow a tag: --share DIR:TAG,OPT..." \
		run --share src,ro disk.img
	refused 125 "share 't': unknown option 'readonly'" \
		"try 'vmshare help share'" run --share src:t,readonly disk.img
	refused 125 "unknown option '--mount'" \
		"it is an option of a share: --share DIR:TAG,mount=/mnt" \
		run --share src --mount=/mnt disk.img
	refused 125 "--memory 512: must be from 16 MiB to 16 TiB" \
		"without a unit these are bytes; write it as 512M or 2G" \
		run --memory 512 disk.img
	refused 125 "unknown option '--port'" "try 'vmshare run --help'" \
		run --port 80 disk.img
	refused 125 "unknown option '--share' (called as virtiofsd)" \
		"vmshare's own options follow a command, as in vmshare run --share" \
		--share src disk.img
	refused 125 "src: is a directory, not a disk image" \
		"to boot it as a tree: --root DIR; to share it: --share DIR" \
		run src
	v check --accel tcg --share src:ro disk.img
	ended 0
	says "warning: share 'ro': that is its tag, and the guest may write to it"
	says "hint: for a read-only share: --share DIR:TAG,ro"
}

@test "share: directory missing, a file, unreadable" {
	refused 125 "share 'gone': $PWD/gone: no such directory" \
		"create it, or check the spelling" run -s "$PWD/gone" disk.img
	: >file
	refused 125 "share 'file': $PWD/file is a file, not a directory" - \
		run -s "$PWD/file" disk.img
	refused 125 "share ':t': directory is empty" - run -s :t disk.img
	[ "$(id -u)" = 0 ] || skip "needs root to become somebody else"
	mkdir -m 700 mine
	install -m 755 "$VMSHARE" vmshare
	chmod 755 . .. ../.. 2>/dev/null || true
	VMSHARE="setpriv" refused 125 \
		"share 'mine': mine: permission denied for uid 65534 (mode 0700, owner root)" \
		- --reuid 65534 --regid 65534 --clear-groups ./vmshare run \
		--share mine disk.img
}

@test "share: few open files" {
	(
		ulimit -n 1000
		v check --accel tcg --share src disk.img
		ended 0
		says "open-file limit is 1000 (hard 1000); large trees are faster with more"
		refused 125 "share 'src': open-files 2000 is more than the open-file limit of 1000" \
			"raise the limit, or give less" \
			run --share src:src,open-files=2000 disk.img
	)
}

@test "share: tag empty, too long, with a bad character, twice" {
	local long
	long=$(printf '%037d' 0)
	refused 125 "tag '$long' is 37 bytes; the limit is 36" \
		"give a shorter one: --share src:NAME" run -s "src:$long" disk.img
	refused 125 "share 'src': tag is empty" "give one: --share src:NAME" \
		run -s src: disk.img
	mkdir -p deep/src
	refused 125 "tag 'src' is used by both src and deep/src" \
		"give one another tag: --share deep/src:src2" \
		run -s src -s deep/src disk.img
}

@test "share: options" {
	refused 125 "share 't': queue-size 100: must be a power of two from 2 to 1024" \
		- run -s src:t,queue-size=100 disk.img
	refused 125 "share 't': queues 65: must be a number from 1 to 64" - \
		run -s src:t,queues=65 disk.img
	refused 125 "share 't': cache some: must be one of auto|always|none" - \
		run -s src:t,cache=some disk.img
	refused 125 "share 't': unknown option 'qeue-size'" \
		"did you mean 'queue-size'?" run -s src:t,qeue-size=4 disk.img
	refused 125 "share 't': mount mnt: must be an absolute path in the guest" \
		- run -s src:t,mount=mnt disk.img
	refused 125 "share 't': squash contradicts access=mapped" - \
		run -s src:t,access=mapped,squash=1 disk.img
	refused 125 "is the whole host, and the guest could write to it" "add ro" run -s /:t disk.img
	refused 125 "share 't': xattr: only its file server can do that" \
		"give it to the server at /x" run --share-socket /x:t,xattr=off disk.img
}

@test "memory and time: not a size, out of range" {
	refused 125 "--memory many: not a size" "write it as 512M or 2G" \
		run -m many disk.img
	refused 125 "--memory 1M: must be from 16 MiB to 16 TiB" - run -m 1M disk.img
	refused 125 "--memory-type magic: must be memfd|hugepages" - \
		run --memory-type magic disk.img
	refused 125 "--memory-type hugepages=3M: page size must be a power of two" \
		- run --memory-type hugepages=3M disk.img
	refused 125 "--timeout soon: not a time" "write it as 250ms, 10s, 2m or 1h" \
		run -t soon disk.img
	refused 125 "--cpus 0: must be a number from 1 to 255" - run -p 0 disk.img
}

@test "memory: more than the host has, or has now" {
	local now
	refused 125 "memory 8 TiB exceeds this host's" - run -m 8T disk.img
	now=$(awk '/^MemAvailable/ { print int($2 / 1048576) + 1 }' /proc/meminfo)
	v check -m "${now}G" disk.img
	[ "$status" = 125 ] || says "that this host has available now"
}

@test "memory: more huge pages than are free" {
	refused 125 "of guest memory needs" "sudo sysctl vm.nr_hugepages=" \
		run -m 4T --memory-type hugepages disk.img
	says "huge pages of 2 MiB"
}

@test "memory: a directory that is missing or too small" {
	refused 125 "no such directory" - run --memory-type file=/gone disk.img
	[ -w /dev/shm ] || skip "/dev/shm is not writable"
	mkdir -p shm
	mount -t tmpfs -o size=16M none shm 2>/dev/null || skip "can't mount"
	v run -m 256M --memory-type "file=$PWD/shm" disk.img
	umount shm
	ended 125
	says "16 MiB free"
	says "256 MiB"
	says "needed; the guest would die of SIGBUS later"
}

@test "NUMA: nodes that do not fit the guest" {
	refused 125 "numa: the nodes' memory is 1 GiB, the guest's 512 MiB" - \
		run -m 512M --numa memory=512M --numa memory=512M disk.img
	refused 125 "numa: 2 MiB is too little for 2 more nodes" - \
		run -m 64M --numa memory=62M --numa '' --numa '' disk.img
	refused 125 "numa: 0 bytes is too little for 1 more nodes" - \
		run -m 64M --numa memory=64M --numa '' disk.img
	refused 125 "numa node 0: there is no processor 7 of 2" - \
		run -p 2 --numa cpus=0-7 disk.img
	refused 125 "numa: processor 0 is in nodes 0 and 1" - \
		run -p 2 --numa cpus=0-1 --numa cpus=0 disk.img
	refused 125 "numa: give cpus for every node or for none" - \
		run -p 2 --numa cpus=0-1 --numa memory=64M disk.img
	refused 125 "numa: processor 1 is in no node" - run -p 2 --numa cpus=0 disk.img
}

@test "QEMU: missing, not executable, not a QEMU, old, without the device" {
	unset VMSHARE_QEMU
	refused 127 "$PWD/none: not found" - run --qemu "$PWD/none" disk.img
	: >plain
	refused 126 "$PWD/plain: is not an executable file" - run --qemu "$PWD/plain" disk.img
	printf '#!/bin/sh\necho hello\n' >hello
	chmod +x hello
	refused 125 "$PWD/hello: is not a QEMU that works: it said 'hello'" \
		"give another QEMU with --qemu FILE" run --qemu "$PWD/hello" disk.img
	standin_full old 2.11.0
	refused 125 "2.11 is too old; 4.2 or later is needed" - run --qemu "$PWD/old" disk.img
	standin bare 7.2.0 virtio-blk-pci
	refused 125 "this build has no vhost-user-fs device" - \
		run --qemu "$PWD/bare" -s src disk.img
}

@test "QEMU: not in PATH, with the distribution's package" {
	unset VMSHARE_QEMU
	mkdir bin
	ln -s "$(command -v timeout)" "$(command -v cat)" "$(command -v grep)" bin/
	PATH=$PWD/bin refused 127 "qemu-system-" - run disk.img
	says ": not found in PATH"
	[ ! -e /etc/debian_version ] || says "hint: sudo apt install qemu-system-"
}

@test "a rule of xattr-map that is none" {
	refused 125 "share 't': xattr-map :bad: has a rule that is not :TYPE:SCOPE:KEY:PREPEND:" \
		- serve --share src:t,xattr-map=:bad --socket s
	[ ! -e s ]
	v check --accel tcg --share src:t,xattr-map=:bad disk.img
	ended 125
	[[ $err == *"xattr-map :bad: has a rule that is not"* ]] || fail "$err"
}

@test "KVM asked for and not available" {
	if grep -qwE 'vmx|svm' /proc/cpuinfo && [ -w /dev/kvm ]; then
		skip "this machine has KVM"
	fi
	v check --accel auto disk.img
	ended 0
	says "using TCG, which is much slower"
}

@test "disk: missing, a directory, in use" {
	refused 125 "gone.img: no such file" - run gone.img
	v run src
	ended 125
	says "error: "
	says "src"
}

@test "disk: what no firmware can boot is named before it is tried" {
	echo text >text.img
	refused 125 "text.img: does not boot: it has no boot sector and no partition table" \
		"as data of a guest without a disk: --root / text.img; a file system without a boot loader: --kernel FILE" \
		run --accel tcg text.img
	v check --accel tcg disk.img
	ended 0
	command -v qemu-img >/dev/null || skip "no qemu-img"
	qemu-img create -q -f qcow2 blank.qcow2 64M
	refused 125 "blank.qcow2: does not boot" - run --accel tcg blank.qcow2
	qemu-img convert -O qcow2 disk.img full.qcow2
	v check --accel tcg full.qcow2
	ended 0
}

@test "disk: firmware, initrd, append and command where they can't be" {
	refused 125 "--initrd: needs --kernel" - run --initrd x disk.img
	refused 125 "--append: needs --kernel" - run --append x disk.img
	refused 125 "disk.img boots by itself, so vmshare can't run 'true' in it" \
		"give --kernel FILE" run disk.img -- true
	refused 125 "--ephemeral and --read-only exclude each other" - \
		run --ephemeral --read-only disk.img
	refused 125 "--user: only for a guest that vmshare's own init boots" - \
		run --user bob disk.img
	refused 125 "--workdir: only for a guest that vmshare's own init boots" - \
		run --workdir /mnt disk.img
	refused 125 "--workdir mnt: must be an absolute path in the guest" - \
		run --workdir mnt -- true
	refused 125 "--init: only for a guest that vmshare's own init boots" - \
		run --init src disk.img
	refused 125 "--root-rw: only for a guest whose root is no disk" - \
		run --root-rw disk.img
	refused 125 "--root: only for a guest whose root is no disk" - \
		run --root / --kernel k --initrd i
	refused 125 "--kernel root: only for a guest whose root is no disk" - \
		run --kernel root disk.img -- true
	refused 125 "--root-rw: the guest could write to the whole host" \
		"give another tree with --root DIR" run --root-rw
}

@test "network: a forward without one, of another form, of another address" {
	refused 125 "--forward: the guest has no network" "add --net user" \
		run --net none --forward tcp:2222:22 disk.img
	refused 125 "--forward 2222:22: must be tcp|udp:[ADDR:]PORT:PORT" \
		"as in tcp:2222:22" run --forward 2222:22 disk.img
	refused 125 "--forward tcp:nowhere:1:2: 'nowhere' is not an IPv4 address" - \
		run --forward tcp:nowhere:1:2 disk.img
}

@test "QEMU arguments that would undo the shared memory" {
	q() {
		refused 125 "--qemu-arg $1: $3" - run --qemu-arg "$1" --qemu-arg "$2" disk.img
	}
	q -m 2G "contradicts --memory"
	q -numa node "contradicts --numa"
	q -smp 4 "contradicts --cpus"
	q -mem-path /dev/shm "would replace the shared memory"
	q -machine q35,memory-backend=x "would replace the shared memory"
	q -object memory-backend-ram,id=x,size=1G "would add memory that is not shared"
	q -daemonize x "vmshare must see QEMU end"
	q -incoming defer "the server has no state to go on from"
	refused 125 "--machine pc,memory-backend=x: would replace the shared memory" \
		- run --machine pc,memory-backend=x disk.img
}

@test "kernel: missing, not a kernel, without modules" {
	refused 125 "gone" - run --kernel "$PWD/gone" -- true
	: >empty
	refused 125 "empty" - run --kernel "$PWD/empty" -- true
}

@test "serve: nothing to serve, nowhere to listen, both, too long, taken" {
	local long
	refused 125 "serve: needs one --share, not 0" "give it: --share DIR" \
		serve --socket s
	printf '%s\n' '[share x]' 'socket = /x' >x.conf
	refused 125 "serve: share 'x' has another server" - \
		serve -c x.conf --socket s
	refused 125 "serve: where should it listen?" "give --socket PATH or --fd N" \
		serve -s src
	refused 125 "--socket and --fd exclude each other" - \
		serve -s src --socket s --fd 3
	refused 125 "--socket-group: needs --socket" - serve -s src --fd 3 --socket-group x
	long=$PWD/$(printf '%0120d' 0)
	refused 125 "--socket: path is ${#long} bytes; the limit is 107" \
		"use a shorter directory such as \$XDG_RUNTIME_DIR, or --fd" \
		serve -s src --socket "$long"
	refused 125 "--fd 77: descriptor is not open" - serve -s src --fd 77
	refused 125 "--fd 7: not a socket" - serve -s src --fd 7 7</dev/null
}

@test "serve: a socket path that exists and is something else" {
	cd "$(mktemp -d "$BATS_RUN_TMPDIR/s.XXXX")" || return 1
	mkdir d
	: >f
	refused 125 "--socket f: exists and is not a socket" "remove it, or give another path" serve -s d --socket f
	[ -f f ]
	refused 125 "--socket gone/s: gone: no such directory" - \
		serve -s d --socket gone/s
}

@test "configuration file: mistakes are named with file and line" {
	conf() {
		printf '%s\n' "$@" >ci.conf
	}
	refused 125 "none.conf: no such file" - run -c none.conf
	conf '[share src]' 'dir = src' 'qeue-size = 4'
	refused 125 "ci.conf:3: unknown key 'qeue-size' in [share src] (did you mean 'queue-size'?)" \
		- run -c ci.conf disk.img
	conf '[share src]' 'path = src'
	refused 125 "ci.conf:2: unknown key 'path' in [share src] (did you mean 'dir'?)" \
		- run -c ci.conf disk.img
	conf '[share src]' 'dir = src' 'wombat = 4'
	refused 125 "ci.conf:3: unknown key 'wombat' in [share src]" - run -c ci.conf disk.img
	[[ $err != *'did you mean'* ]]
	conf 'memory = 1G'
	refused 125 "ci.conf:1: 'memory' stands before the first section" - run -c ci.conf
	conf '[vm]' 'memory'
	refused 125 "ci.conf:2: 'memory': must be KEY = VALUE" - run -c ci.conf
	conf '[vm'
	refused 125 "ci.conf:1: '[vm': no ']' at the end" - run -c ci.conf
	conf '[vn]'
	refused 125 "ci.conf:1: unknown section [vn] (did you mean [vm]?)" - run -c ci.conf
	conf '[vm]' '' '# comment' 'memory = much'
	refused 125 "ci.conf:4: memory much: not a size" "write it as 512M or 2G" \
		run -c ci.conf
	conf '[share a]' 'dir = src' '[share a]' 'dir = other'
	refused 125 "ci.conf:3: section [share a] appears twice" - run -c ci.conf
	conf '[share a]' 'ro = yes'
	refused 125 "ci.conf:1: share 'a': no directory given" "add dir = DIR" run -c ci.conf
	conf '[numa 1]'
	refused 125 "ci.conf:1: [numa 1]: nodes are numbered from 0, in order" - run -c ci.conf
	conf '[vm]' 'dry-run = yes'
	refused 125 "ci.conf:2: 'dry-run' is for the command line only" - run -c ci.conf
	conf '[qemu]' 'args = x'
	refused 125 "ci.conf:2: unknown key 'args' in [qemu] (did you mean 'arg'?)" - run -c ci.conf
}

@test "values: out of range, empty, too many" {
	local list
	refused 125 "--cpus 999: must be a number from 1 to 255" - run -p 999 disk.img
	refused 125 "--timeout 0s: out of range" - run -t 0s disk.img
	refused 125 "--memory-type hugepages=3M: page size must be a power of two, as in 2M or 1G" \
		- run --memory-type hugepages=3M disk.img
	refused 125 "--append: must not be empty" - run --append '' disk.img
	refused 125 "--kernel: must not be empty" - run --kernel '' disk.img
	refused 125 "--env : must be NAME[=VALUE]" - run --env '' -- true
	refused 125 "--numa cpus=x: cpus x: must be a range such as 0-1" - \
		run --numa cpus=x disk.img
	list=$(printf -- '--disk disk.img %.0s' $(seq 17))
	# shellcheck disable=SC2086 # words
	refused 125 "--disk disk.img: at most 16 disks" - run $list
	list=$(printf -- '--share src:t%s ' $(seq 17))
	# shellcheck disable=SC2086
	refused 125 "at most 16 shares" - run $list disk.img
	list=$(printf -- '--numa memory=64M %.0s' $(seq 9))
	# shellcheck disable=SC2086
	refused 125 "--numa: at most 8 nodes" - run $list disk.img
}

@test "what excludes each other" {
	: >k
	refused 125 "a COMMAND and --initrd exclude each other: it is started by vmshare's own initrd" \
		- run --initrd k --kernel k -- true
	refused 125 "--dry-run: this guest boots from memory that only a run makes; nothing could be pasted" \
		"give a disk, or --kernel and --initrd" run --dry-run
	refused 125 "--firmware: --kernel is booted without" - \
		run --firmware uefi --kernel k --initrd k
	refused 125 "--firmware bios: aarch64 has none" - \
		run --arch aarch64 --firmware bios disk.img
	refused 125 "share 'vmshare-root': that tag is the guest's root" - \
		run --share src:vmshare-root
	printf '%s\n' '[share a]' 'dir = src' 'socket = /x' >ci.conf
	refused 125 "ci.conf:1: share 'a': dir and socket exclude each other" - \
		run -c ci.conf disk.img
	printf '%s\n' '[vm x]' 'memory = 1G' >ci.conf
	refused 125 "ci.conf:1: [vm x]: takes no name" - run -c ci.conf disk.img
	printf '[vm]\nmemory = 1\0G\n' >ci.conf
	refused 125 "ci.conf:2: has a NUL byte" - run -c ci.conf disk.img
}

@test "more disks and shares than a machine has room for" {
	local i words=
	for i in $(seq 15); do
		cp disk.img disk$i.img
		words+=" --disk disk$i.img --share src:t$i"
	done
	# shellcheck disable=SC2086 # words
	refused 125 "15 disks and 15 shares: the machine has room for 28 in all" - \
		run --accel tcg $words
}

@test "a directory that can't be written to is told of before" {
	v check --accel tcg --share /proc/sys:t disk.img
	ended 0
	says "share 't': /proc/sys: not writable for uid $(id -u), so the guest can't create files there"
	says "add ro to say that this is meant"
}

@test "stdout that is full" {
	status=0
	"$VMSHARE" help >/dev/full 2>err || status=$?
	err=$(cat err)
	ended 125
	says "can't write to stdout: No space left on device"
}

@test "sockets of others: missing, no socket; a port that is taken" {
	: >plain
	refused 125 "share 'x': $PWD/plain: is not a socket" - \
		run --accel tcg --share-socket "$PWD/plain:x" disk.img
	refused 125 "share 'x': $PWD/none: no such socket" "start its server first" \
		run --accel tcg --share-socket "$PWD/none:x" disk.img
	refused 125 "--socket s: no such directory or group 'no-such-group'" - \
		serve --share src --socket s --socket-group no-such-group
	[ ! -e s ]
	v check --accel tcg --share src:s,queue-size=4 disk.img
	ended 0
	says "share 's': queue-size 4: Linux guests need 8 or more"
	command -v python3 >/dev/null || skip "python3 is not installed"
	python3 -c 'import socket, time
s = socket.socket()
s.bind(("127.0.0.1", 0))
s.listen()
print(s.getsockname()[1], flush=True)
time.sleep(60)' >port &
	wait_for 10 test -s port
	refused 125 "--forward: port $(cat port) of 127.0.0.1: Address already in use" \
		- run --accel tcg --forward "tcp:$(cat port):22" disk.img
	kill $!
}

@test "called as virtiofsd: what can't be honoured is refused by name" {
	q() {
		local text=$1
		shift
		refused 125 "$text" - "$@"
	}
	q "-o cache metadata: vmshare has only auto, always and never" \
		-o cache=metadata --fd 3
	q "--cache metadata: vmshare has only auto, always and never" \
		--shared-dir src --cache metadata --fd 3
	q "give --socket-path PATH or --fd N" --shared-dir src
	q "no directory given (--shared-dir DIR or -o source=DIR)" --fd 3
	q "--socket-path and --fd exclude each other" \
		--shared-dir src --fd 3 --socket-path s
	q "--socket-group: needs --socket-path" --shared-dir src --fd 3 --socket-group x
	q "--uid-map x: must be :GUEST:HOST:COUNT:" --shared-dir src --fd 3 --uid-map=x
	q "--translate-uid 0:1:2: must be TYPE:FROM:TO:COUNT" \
		--shared-dir src --fd 3 --translate-uid 0:1:2
	q "--security-label yes: must be never, auto or always" \
		--shared-dir src --fd 3 --security-label=yes
	q "--modcaps +sys_admin: refused: vmshare takes capabilities away only" \
		--shared-dir src --fd 3 --modcaps=-mknod:+sys_admin
	q "--modcaps mknod: must be +|-CAPABILITY[:...]" \
		--shared-dir src --fd 3 --modcaps=mknod
	q "--log-level chatty: unknown level" --shared-dir src --fd 3 --log-level chatty
	q "--inode-file-handles maybe: must be never or prefer" \
		--shared-dir src --fd 3 --inode-file-handles maybe
}

@test "help, version, completion: words they do not know" {
	refused 125 "version takes no arguments: 'x'" - version x
	refused 125 "no help for 'x'" - help x
	refused 125 "stat: no share 'none-such' is running" "'vmshare ps' lists what runs" \
		stat none-such
	refused 125 "--fd 0: not a socket" - serve -s src --fd 0
	refused 125 "completion: bash, zsh or fish is wanted" - completion
}

@test "check tells all findings at once, and run the first of them" {
	v check -s "$PWD/gone" -m 8T --memory-type hugepages \
		--qemu "$PWD/none" --kernel "$PWD/nokernel" gone.img
	says "no such directory"
	says "huge pages"
	says "none: not found"
	says "gone.img: no such file"
	says "nokernel"
	[ "$status" != 0 ]
	[ "$(grep -c '^vmshare: error: ' <<<"$err")" = 5 ]
	v check --json -s "$PWD/gone" --qemu "$PWD/none" gone.img
	[ "$status" != 0 ]
	jq -e . "$BATS_TEST_TMPDIR/out" >/dev/null
	prints "no such directory"
}

@test "nothing of a refused run is left behind" {
	mark
	v run -s "$PWD/gone" disk.img
	nothing_left
}
