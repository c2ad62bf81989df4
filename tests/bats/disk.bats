#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# The main job: `vmshare run --share DIR:TAG disk.img` boots a real Debian by
# its own boot loader, and what the guest does with three shares is right as
# seen from both sides. One boot; the guest's own checks are in
# tests/images/checks, each test here looks at one of them.
#
# DISK_FILES is the number of small files: 20000 of them, as check-more has it,
# take 4 minutes where nothing else runs.

load helper

setup_file() {
	image disk
	[ -z "${SKIP:-}" ] || return 0
	export D=$BATS_FILE_TMPDIR
	mkdir -p "$D/data/below" "$D/fixed/tree/sub/deep" "$D/fixed/big"
	# A file system below, where one may be mounted.
	! mount -t tmpfs none "$D/data/below" 2>/dev/null ||
		echo below >"$D/data/below/marker"
	export files=${DISK_FILES:-2000}
	job "$D/ctl" <<-END
		exec sh ./checks $files
	END
	cp "$top/tests/images/checks" "$D/ctl/"
	(
		cd "$D/fixed" || exit 1
		for n in 1 2 3 4 5; do
			head -c "${n}00001" /dev/urandom >"tree/sub/f$n"
		done
		: >tree/empty
		head -c 5000000 /dev/urandom >tree/sub/deep/large
		(cd tree && find . -type f -print0 | xargs -0 sha256sum) >sums
		seq 1 120000000 | head -c 1G >stream
		(cd big && seq -w 0 099999 | xargs touch && echo last >./099999)
		git clone -q --bare "$top" repo.git || git init -q --bare repo.git
	)
	status=0
	timeout -k 10 $((1200 * slow)) "$VMSHARE" run "${guest_options[@]}" --timeout $((18 * slow))m \
		--share "$D/ctl:ctl" --share "$D/data:data" \
		--share "$D/fixed:fixed,ro" --status-fd 9 "$disk" \
		9>"$D/events" >"$D/console" 2>"$D/stderr" </dev/null || status=$?
	echo $status >"$D/status"
}

teardown_file() {
	[ -n "${D:-}" ] || return 0
	umount "$D/data/below" 2>/dev/null || true
	rm -rf "$D/data" "$D/fixed"
}

setup() {
	may_run
}

# guest NAME: the guest's check of that name was well
guest() {
	local rc=$D/ctl/results/$1.rc
	[ -e "$rc" ] || fail "the guest did not get that far:" \
		"$(tail -n 5 "$D/console" "$D/stderr")"
	[ "$(cat "$rc")" = 0 ] ||
		fail "in the guest, status $(cat "$rc"): $(tail -c 2000 "$D/ctl/results/$1.out")"
}
said() {
	cat "$D/ctl/results/$1.out"
}

@test "the guest booted by itself, ran its job and powered off" {
	[ "$(cat "$D/status")" = 0 ] || fail "status $(cat "$D/status"): $(tail "$D/stderr")"
	[ "$(cat "$D/ctl/status")" = 0 ]
	[ -e "$D/ctl/results/done" ]
	grep -q SYSLINUX "$D/console"
	# Where the time went, for whoever reads the log.
	sed -n 's/^\([a-z]* [0-9]*\) from /# \1, began at /p' "$D/ctl/log" >&3
}

@test "stdout is the guest's console, stderr has no error" {
	grep -q 'reboot: Power down' "$D/console"
	! grep -E '^vmshare: (error|warning: the guest)' "$D/stderr" || false
}

@test "--status-fd tells of start, mounts, unmounts and the end" {
	jq -es 'map(.event) | contains(["started", "mounted", "exit"])' "$D/events"
	[ "$(jq -r 'select(.event == "mounted").tag' "$D/events" | sort -u | tr '\n' ' ')" \
		= "ctl data fixed " ]
	[ "$(jq -r 'select(.event == "unmounted").tag' "$D/events" | sort -u | wc -l)" = 3 ]
	[ "$(tail -n 1 "$D/events" | jq -r '"\(.event) \(.code) \(.source)"')" = "exit 0 guest" ]
}

@test "the guest's kernel complained of nothing" {
	# "report a bug" is what it says of any emulated machine.
	! grep -E 'BUG:|Oops|WARNING:|hung|virtio-?fs:|fuse: ' \
		"$D/ctl/results/dmesg" | grep -v 'fuse: init' || false
}

@test "contents by checksum, both ways" {
	guest contents
	(cd "$D/data/copy" && sha256sum -c --quiet "$D/fixed/sums")
	diff -r "$D/fixed/tree" "$D/data/copy"
}

@test "thousands of small files" {
	guest small
	[ "$(find "$D/data/small" -type f | wc -l)" = "$files" ]
	[ "$(find "$D/data/small" -type f -exec cat {} + | sort -n | md5sum)" = "$(said small)" ]
	[ "$(seq "$files" | md5sum)" = "$(said small)" ]
}

@test "as many links removed again" {
	guest remove
	[ ! -e "$D/data/small.gone" ]
	[ "$(stat -c %h "$D/data/small/f.aaaa")" = 1 ]
}

@test "1 GiB streamed in and out" {
	guest stream
	cmp "$D/fixed/stream" "$D/data/stream"
}

@test "rename" {
	guest rename
	[ "$(cat "$D/data/rename/c/1")" = two ]
	[ "$(cat "$D/data/rename/c/e/x")" = x ]
	[ ! -e "$D/data/rename/b" ]
}

@test "unlinked while open" {
	guest unlinked
	[ ! -e "$D/data/unlinked" ]
}

@test "hard links" {
	guest links
	[ "$(stat -c %h "$D/data/links/a")" = 2 ]
	[ "$D/data/links/a" -ef "$D/data/links/c" ]
}

@test "symbolic links" {
	guest symlinks
	[ "$(readlink "$D/data/sym/abs")" = /etc/hostname ]
	[ "$(readlink "$D/data/sym/long" | wc -c)" = 4001 ]
}

@test "extended attributes" {
	guest xattrs
	[ "$(getfattr --only-values -n user.one "$D/data/xattr")" = 1 ]
	[ "$(getfattr --only-values -n user.dir "$D/data/xattrdir")" = yes ]
	! getfattr -n user.two "$D/data/xattr" 2>/dev/null || false
}

@test "POSIX ACLs" {
	guest acl
	getfacl -cnp "$D/data/acl/f" | grep -qx 'user:1234:r--'
}

@test "owners, modes, set-id bits" {
	guest owners
	[ "$(stat -c %u:%g:%a "$D/data/own/f")" = 1000:1001:777 ]
	[ "$(stat -c %u:%g "$D/data/own/new")" = 1000:1001 ]
}

@test "supplementary groups may create" {
	guest groups
	[ "$(stat -c %u:%g "$D/data/grp/made")" = 1000:555 ]
}

@test "fifos and device nodes" {
	guest special
	[ -p "$D/data/special/fifo" ]
	[ "$(stat -c %F "$D/data/special/null")" = "character special file" ]
}

@test "times to the nanosecond" {
	guest times
	[ "$(stat -c %.9Y "$D/data/times")" = 981173106.123456789 ]
}

@test "names of any bytes" {
	guest names
	[ "$(find "$D/data/names" -type f -print0 | tr -cd '\0' | wc -c)" = 9 ]
}

@test "sparse files" {
	guest sparse
	[ "$(stat -c %s "$D/data/sparse")" = 104857600 ]
	[ "$(stat -c %b "$D/data/sparse")" -lt 100 ]
	[ "$(stat -c %b "$D/data/punch")" -lt 5000 ]
}

@test "a directory of 100,000 entries" {
	guest bigdir
	said bigdir | grep -qF "$(find "$D/fixed/big" -type f -printf '%f\n' | sort | md5sum)"
}

@test "a read-only share" {
	guest readonly
	[ ! -e "$D/fixed/new" ]
	[ "$(stat -c %a "$D/fixed/sums")" != 777 ]
}

@test "git clone, commit, gc and fsck" {
	guest git
	git -C "$D/data/clone" -c safe.directory='*' fsck --full
	[ "$(git -C "$D/data/clone" -c safe.directory='*' log -1 --format=%an)" = g ]
}

@test "sqlite in both journal modes" {
	guest sqlite
	[ "$(said sqlite | grep -cx ok)" = 2 ]
	[ "$(sqlite3 "$D/data/delete.db" 'pragma integrity_check')" = ok ]
}

@test "fio verify: buffered, mixed sizes, fsync" {
	guest fio
}

@test "fio verify: O_DIRECT, asynchronous" {
	guest direct
}

@test "fio verify: shared mapping" {
	guest mmap
}

@test "fio verify: eight jobs" {
	guest jobs
}

@test "flock" {
	guest lock
}

@test "four appenders" {
	guest append
	[ "$(sort -u "$D/data/append" | wc -l)" = 800 ]
}

@test "a file system below" {
	[ -e "$D/data/below/marker" ] || skip "can't mount"
	guest submount
	[ -d "$D/data/below/d" ]
	[ ! -e "$D/data/below/new" ]
	[ "$(cat "$D/data/moved")" = new ]
}

@test "statfs" {
	guest statfs
	[ "$(said statfs | tail -n 1)" = 255 ]
}

@test "unmounted and mounted again" {
	guest remount
	[ "$(cat "$D/data/remount")" = before ]
}
