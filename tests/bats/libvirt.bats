#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# libvirt's virtiofs guide, with vmshare as the <binary>: a real libvirtd, in
# a mount namespace of its own so that nothing of the machine's is touched,
# starts each variant, and a guest mounts, reads, writes and powers off.

load helper

setup_file() {
	local tool
	export SKIP='' L=$BATS_FILE_TMPDIR/libvirt
	[ "$(id -u)" = 0 ] || export SKIP="needs root for libvirtd"
	for tool in libvirtd virtlogd virsh qemu-system-x86_64 nsenter; do
		PATH=$PATH:/usr/sbin command -v $tool >/dev/null ||
			export SKIP="$tool is not installed"
	done
	[ -n "$SKIP" ] || image disk
	[ -z "$SKIP" ] || return 0
	mkdir -p "$L/mem"
	cat >"$L/session" <<-'END'
		set -e
		PATH=$PATH:/usr/sbin
		for d in /etc/libvirt /run/libvirt /var/lib/libvirt /var/log/libvirt /var/cache/libvirt; do
			mkdir -p $d
			mount -t tmpfs none $d
		done
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
		mkdir -p /run/libvirt/common /var/lib/libvirt/qemu /dev/hugepages
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
	mkdir data
	echo "host $RANDOM" >data/from-host
	job ctl <<-'END'
		set -e
		mkdir -p /mnt/data
		mount -t virtiofs mount_tag /mnt/data
		cp /mnt/data/from-host /mnt/data/from-guest
		setfattr -n user.guest -v 1 /mnt/data/from-guest || echo no xattr
		exec 3<>/mnt/data/lock
		flock -n 3 && echo locked
		exec 3<&-
		umount /mnt/data
	END
	# shared memory, one cell, the guide's file system, unless changed
	memory="<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>"
	cpu="<cpu mode='maximum'/>"
	driver="<driver type='virtiofs' queue='1024'/>"
	binary="<binary path='$VMSHARE' xattr='on'/>"
	source="<source dir='$PWD/data'/>"
}

teardown() {
	rm -f disk.img
	give_huge
}

# start a domain of what setup() put together and wait for its end
domain() {
	local name=vmshare-test-$BATS_TEST_NUMBER
	cat >domain.xml <<-END
		<domain type='qemu'>
		  <name>$name</name>
		  <memory unit='MiB'>512</memory>
		  $memory
		  <vcpu>1</vcpu>
		  <os><type arch='x86_64' machine='q35'>hvm</type></os>
		  <features><acpi/></features>
		  $cpu
		  <on_reboot>destroy</on_reboot>
		  <devices>
		    <emulator>/usr/bin/qemu-system-x86_64</emulator>
		    <disk type='file' device='disk'>
		      <driver name='qemu' type='raw'/>
		      <source file='$PWD/disk.img'/>
		      <target dev='vda' bus='virtio'/>
		    </disk>
		    <filesystem type='mount' accessmode='passthrough'>
		      <driver type='virtiofs' queue='1024'/>
		      <binary path='$VMSHARE' xattr='on'/>
		      <source dir='$PWD/ctl'/>
		      <target dir='ctl'/>
		    </filesystem>
		    <filesystem type='mount' accessmode='passthrough'>
		      $driver
		      $binary
		      $source
		      <target dir='mount_tag'/>
		    </filesystem>
		    <serial type='file'><source path='$PWD/console'/></serial>
		    <controller type='usb' model='none'/>
		    <memballoon model='none'/>
		  </devices>
		</domain>
	END
	virsh create "$PWD/domain.xml"
	pgrep -af "$VMSHARE" >servers || true
	wait_for 240 eval '! virsh domstate '$name' >/dev/null 2>&1'
	[ "$(cat ctl/status)" = 0 ] || fail "$(cat ctl/log; tail -n 5 console)"
	cmp data/from-host data/from-guest
	grep -qx locked ctl/log
	# libvirt ends its servers with the domain
	wait_for 10 eval '! pgrep -f "$PWD/(ctl|data)" >/dev/null'
}

@test "memfd" {
	domain
	[ "$(getfattr --only-values -n user.guest data/from-guest)" = 1 ]
	# it was vmshare that served
	[ "$(grep -c -- '--fd=' servers)" -ge 2 ]
}

@test "file-backed memory" {
	memory="<memoryBacking><source type='file'/><access mode='shared'/></memoryBacking>"
	domain
}

@test "huge pages" {
	need_huge 256
	memory="<memoryBacking><hugepages><page size='2' unit='M'/></hugepages><access mode='shared'/></memoryBacking>"
	domain
}

@test "two NUMA cells" {
	memory=
	cpu="<cpu mode='maximum'><numa>
		<cell id='0' cpus='0' memory='256' unit='MiB' memAccess='shared'/>
		<cell id='1' memory='256' unit='MiB' memAccess='shared'/>
		</numa></cpu>"
	domain
}

@test "cache always, both locks, xattr on" {
	binary="<binary path='$VMSHARE' xattr='on'><cache mode='always'/>
		<lock posix='on' flock='on'/></binary>"
	domain
}

@test "cache none, no locks, no xattr, sandbox chroot, a thread pool" {
	binary="<binary path='$VMSHARE' xattr='off'><cache mode='none'/>
		<sandbox mode='chroot'/><lock posix='off' flock='off'/>
		<thread_pool size='4'/></binary>"
	domain
	grep -q 'no xattr' ctl/log
}

@test "a path with commas and blanks" {
	mkdir 'a, b,,c'
	mv data/from-host 'a, b,,c'
	rmdir data
	ln -s 'a, b,,c' data
	source="<source dir='$PWD/a, b,,c'/>"
	domain
}

@test "an external server on a socket" {
	"$VMSHARE" serve --socket ext --share data:mount_tag >out 2>err </dev/null 3>&- &
	server=$!
	wait_for 10 test -S ext
	driver="<driver type='virtiofs' queue='1024'/>"
	binary=
	source="<source socket='$PWD/ext'/>"
	domain
	kill -TERM $server
	wait $server
}

@test "the XML of libvirt-xml is one that libvirt takes" {
	v libvirt-xml -m 512M -p 1 --share "$PWD/data:mount_tag" "$PWD/disk.img"
	ended 0
	sed "s,<domain type='kvm'>,<domain type='qemu'>," "$BATS_TEST_TMPDIR/out" >xml
	virsh define "$PWD/xml"
	name=$(sed -n 's,.*<name>\(.*\)</name>.*,\1,p' xml | head -n 1)
	virsh dumpxml "$name" | grep -q "<binary path='.*vmshare"
	virsh undefine "$name"
}
