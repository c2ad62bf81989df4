#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# libvirt's virtiofs guide, with vmshare as the <binary>: a real libvirtd, in
# a mount namespace of its own so that nothing of the machine's is touched,
# starts a domain with each kind of memory. The first of them has a file system
# for each kind that the guide knows; a guest mounts, reads, writes, sets
# attributes, locks and unmounts them all.

load helper

setup_file() {
	local tool
	export SKIP='' L=$BATS_FILE_TMPDIR/libvirt
	export LOCKS=${LOCKS:-$top/build/tests/locks}
	[ -x "$LOCKS/ask" ] || export SKIP="tests/locks is not built"
	[ "$(id -u)" = 0 ] || export SKIP="needs root for libvirtd"
	for tool in libvirtd virtlogd virsh qemu-system-x86_64 nsenter; do
		PATH=$PATH:/usr/sbin command -v $tool >/dev/null ||
			export SKIP="$tool is not installed"
	done
	unshare -m true 2>/dev/null || export SKIP="no mount namespace to be had"
	[ -n "$SKIP" ] || image disk
	[ -z "$SKIP" ] || return 0
	mkdir -p "$L/mem"
	# as installed, next to what else there is
	make -s -C "$top" install PREFIX="$L/installed" >/dev/null
	cp /usr/share/qemu/vhost-user/*.json \
		"$L/installed/share/qemu/vhost-user" 2>/dev/null || true
	cat >"$L/session" <<-'END'
		set -e
		PATH=$PATH:/usr/sbin
		for d in /etc/libvirt /run/libvirt /var/lib/libvirt /var/log/libvirt \
			/var/cache/libvirt; do
			mkdir -p $d
			mount -t tmpfs none $d
		done
		# a machine's own systemd has no part in this
		[ ! -d /run/dbus ] || mount -t tmpfs none /run/dbus
		# the accounts that its package would make
		for f in passwd group; do
			cp /etc/$f "$L/$f"
			grep -q ^libvirt-qemu: "$L/$f" || case $f in
			passwd) echo libvirt-qemu:x:64055:64055::/:/bin/false ;;
			group) echo libvirt-qemu:x:64055: ;;
			esac >>"$L/$f"
			mount --bind "$L/$f" /etc/$f
		done
		grep -q ^kvm: /etc/group || echo kvm:x:64056: >>"$L/group"
		mkdir -p /run/libvirt/common /var/lib/libvirt/qemu /dev/hugepages \
			/usr/share/qemu/vhost-user
		mount --bind "$L/installed/share/qemu/vhost-user" \
			/usr/share/qemu/vhost-user
		mountpoint -q /dev/hugepages || mount -t hugetlbfs none /dev/hugepages
		cat >/etc/libvirt/qemu.conf <<-CONF
			user = "root"
			group = "root"
			security_driver = "none"
			cgroup_controllers = []
			namespaces = []
			stdio_handler = "file"
			remember_owner = 0
			memory_backing_dir = "$L/mem"
		CONF
		rm -f /run/libvirtd.pid /run/virtlogd.pid
		virtlogd -p "$L/virtlogd.pid" &
		libvirtd -p "$L/libvirtd.pid" &
		echo $$ >"$L/ns"
		wait
	END
	unshare -m --propagation private sh "$L/session" >"$L/daemons" 2>&1 </dev/null 3>&- &
	wait_for 20 test -s "$L/ns"
	ns=$(cat "$L/ns")
	export ns
	wait_for 30 virsh uri >/dev/null 2>&1 ||
		SKIP="libvirtd does not start: $(tail -n 2 "$L/daemons")"
}

teardown_file() {
	local d
	[ -n "${ns:-}" ] || return 0
	for d in $(virsh list --name); do virsh destroy "$d" || true; done
	kill "$(cat "$L/libvirtd.pid")" "$(cat "$L/virtlogd.pid")" 2>/dev/null || true
}

virsh() {
	nsenter -t "$ns" -m virsh -q -c qemu:///system "$@"
}

setup() {
	may_run
	cd "$BATS_TEST_TMPDIR" || return 1
	cp --sparse=always --reflink=auto "$disk" disk.img
	job ctl <<-'END'
		for tag in $(cat tags); do
			mkdir -p /mnt/$tag
			mount -t virtiofs $tag /mnt/$tag || continue
			cp /mnt/$tag/from-host /mnt/$tag/from-guest
			setfattr -n user.guest -v 1 /mnt/$tag/from-guest &&
				echo $tag has xattrs
			echo $tag: $(./ask /mnt/$tag/held w f)
			echo $tag: $(./ask /mnt/$tag/from-guest w f)
			flock -n /mnt/$tag/from-guest \
				flock -n /mnt/$tag/from-guest true || echo $tag excludes
			umount /mnt/$tag && echo $tag is done
		done
		ls -d /sys/devices/system/node/node*
	END
	# one cell of memory that is memfd and shared, unless changed
	memory="<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>"
	cpu="<cpu mode='maximum'/>"
	filesystems=
	cp "$LOCKS/ask" ctl
	add ctl "<binary path='$VMSHARE' xattr='on'/>"
	add mount_tag "<binary path='$VMSHARE' xattr='on'/>"
}

teardown() {
	rm -f disk.img
	give_huge
	[ -z "${servers:-}" ] || kill $servers 2>/dev/null || true
}

# add TAG BINARY [SOURCE]: the guide's <filesystem>; a directory of that name
# with a file that the host has a lock on
add() {
	mkdir -p "$1"
	echo "host $RANDOM" >"$1/from-host"
	: >"$1/held"
	[ "$1" = ctl ] || echo "$1" >>ctl/tags
	filesystems+="
		<filesystem type='mount' accessmode='passthrough'>
		  <driver type='virtiofs' queue='1024'/>
		  $2
		  ${3:-<source dir='$PWD/$1'/>}
		  <target dir='$1'/>
		</filesystem>"
}

# start a domain of what was put together
domain() {
	cat >domain.xml <<-END
		<domain type='qemu'>
		  <name>vmshare-test</name>
		  <memory unit='MiB'>512</memory>
		  $memory
		  <vcpu>1</vcpu>
		  <os><type arch='x86_64' machine='q35'>hvm</type></os>
		  <features><acpi/></features>
		  $cpu
		  <on_reboot>destroy</on_reboot>
		  <devices>
		    <emulator>$(command -v qemu-system-x86_64)</emulator>
		    <disk type='file' device='disk'>
		      <driver name='qemu' type='raw'/>
		      <source file='$PWD/disk.img'/>
		      <target dev='vda' bus='virtio'/>
		    </disk>
		    $filesystems
		    <serial type='file'><source path='$PWD/console'/></serial>
		    <controller type='usb' model='none'/>
		    <memballoon model='none'/>
		  </devices>
		</domain>
	END
	starts domain.xml
}

# starts XML: wait for its end, look at what the guest did
starts() {
	local tag pid hold
	mkfifo hold
	for tag in $(cat ctl/tags); do
		"$LOCKS/ask" "$tag/held" w f hold <hold >"held.$tag" 3>&- &
	done
	exec {hold}>hold
	for tag in $(cat ctl/tags); do
		wait_for 20 grep -q 'f ok' "held.$tag"
	done
	virsh create "$PWD/$1"
	pgrep -af "vmshare.*--fd=.*source=$PWD" >servers || true
	pid=$(pgrep -f "qemu-system.* guest=$(sed -n 's,.*<name>\(.*\)</name>,\1,p' "$1"),")
	tr '\0' '\n' <"/proc/$pid/cmdline" >qemu
	timeout 240 tail --pid="$pid" -f /dev/null
	exec {hold}>&-
	[ "$(cat ctl/status)" = 0 ] || fail "$(cat ctl/log; tail -n 5 console)"
	for tag in $(cat ctl/tags); do
		cmp "$tag/from-host" "$tag/from-guest"
		grep -qx "$tag is done" ctl/log || fail "$(cat ctl/log)"
		grep -qx "$tag excludes" ctl/log || fail "$(cat ctl/log)"
		grep -qx "$tag: w ok f ok" ctl/log || fail "$(cat ctl/log)"
		# locks of the host hold for the guest, but where they are off
		[ "$tag" = bare ] || grep -qx "$tag: w EAGAIN f EAGAIN" ctl/log ||
			fail "$(cat ctl/log)"
	done
	# libvirt ends its servers with the domain
	wait_for 30 eval '! pgrep -f "vmshare.*--fd=.*source=$PWD" >/dev/null'
}

# qemu_has WORD: in its command line
qemu_has() {
	grep -q -- "$1" qemu || fail "no $1 in: $(cat qemu)"
}

@test "memfd, and each kind of file system" {
	add always "<binary path='$VMSHARE' xattr='on'><cache mode='always'/>
		<lock posix='on' flock='on'/></binary>"
	add bare "<binary path='$VMSHARE' xattr='off'><cache mode='none'/>
		<sandbox mode='chroot'/><lock posix='off' flock='off'/>
		<thread_pool size='4'/></binary>"
	add found ''
	add comma "<binary path='$VMSHARE'/>" "<source dir='$PWD/a, b,,c'/>"
	mv comma 'a, b,,c'
	ln -s 'a, b,,c' comma
	add ext '' "<source socket='$PWD/ext.sock'/>"
	"$VMSHARE" serve --socket ext.sock --share ext:x >out 2>err </dev/null 3>&- &
	servers=$!
	wait_for 60 test -S ext.sock
	domain
	qemu_has memory-backend-memfd
	[ "$(grep -c 'vhost-user-fs-pci.*queue-size.*1024' qemu)" = 7 ]
	# all but the external one are vmshare, called by libvirt
	[ "$(grep -c . servers)" -ge 6 ] || fail "$(cat servers)"
	# libvirt found it by its descriptor
	grep -q "$L/installed/bin/vmshare .*source=.*/found" servers
	grep -q 'source=.*/always,cache=always,xattr,flock,posix_lock' servers
	grep -q 'cache=none,sandbox=chroot,no_xattr,no_flock,no_posix_lock' servers
	[ "$(sed -n 's/ has xattrs//p' ctl/log | xargs)" = "mount_tag always ext" ]
	[ "$(getfattr --only-values -n user.guest mount_tag/from-guest)" = 1 ]
	[ "$(grep -cx 'bare: w ok f ok' ctl/log)" = 2 ] || fail "$(cat ctl/log)"
	kill -TERM $servers
	wait $servers
	servers=
}

@test "file-backed memory" {
	memory="<memoryBacking><source type='file'/><access mode='shared'/></memoryBacking>"
	domain
	qemu_has "memory-backend-file.*$L/mem"
}

@test "huge pages of a size" {
	need_huge 256
	memory="<memoryBacking><hugepages><page size='2' unit='M'/></hugepages><access mode='shared'/></memoryBacking>"
	domain
	qemu_has 'memory-backend-file.*/dev/hugepages'
}

@test "two NUMA cells" {
	memory=
	cpu="<cpu mode='maximum'><numa>
		<cell id='0' cpus='0' memory='256' unit='MiB' memAccess='shared'/>
		<cell id='1' memory='256' unit='MiB' memAccess='shared'/>
		</numa></cpu>"
	domain
	grep -q node/node1 ctl/log
}

@test "what libvirt-xml prints of a config boots in libvirt" {
	cat >test.conf <<-END
		[vm]
		memory = 512M
		cpus = 1
		accel = tcg
		net = none
		disk = disk.img
		[share ctl]
		dir = ctl
		[share mount_tag]
		dir = mount_tag
		cache = always
	END
	v libvirt-xml --config test.conf
	ended 0
	cp "$BATS_TEST_TMPDIR/out" printed.xml
	starts printed.xml
	grep -q 'source=.*/mount_tag,cache=always' servers
	grep -qx 'mount_tag has xattrs' ctl/log
}
