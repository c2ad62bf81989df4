#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# The conformance suite (tests/posix) in guests: the same program, in the same
# boot, on ext4 and on shares. What differs from ext4 is listed, with reasons,
# in tests/posix/known.ACCESS; nothing else may, and what is listed has to.

load helper

# In the guest: /mnt/ctl has the program, arguments are tags.
# shellcheck disable=SC2016 # for the guest's shell
script='
modprobe loop 2>/dev/null; modprobe ext4 2>/dev/null
truncate -s 64M /tmp/image && mkfs.ext4 -q -b 4096 -I 256 /tmp/image &&
	mkdir /tmp/ext4 && mount -o loop /tmp/image /tmp/ext4 || exit 99
cp /mnt/ctl/posix /tmp/posix
/tmp/posix /tmp/ext4 /dev/shm >/mnt/ctl/ext4.tap
for tag; do
	/tmp/posix /mnt/$tag /dev/shm >/mnt/ctl/$tag.tap
done
[ ! -d /mnt/ro ] || /tmp/posix -r /mnt/ro >/mnt/ctl/ro.tap
exit 0
'

setup_file() {
	export POSIX=${POSIX:-$top/build/tests/posix/posix}
	needs_guest
	command -v mkfs.ext4 >/dev/null || export SKIP="no mkfs.ext4"
	[ "$(id -u)" = 0 ] || export SKIP="needs root to share ids"
	[ -x "$POSIX" ] || export SKIP="tests/posix is not built"
	[ -z "${SKIP:-}" ] || return 0
	cd "$BATS_FILE_TMPDIR" || return 1
	chmod 755 "$BATS_RUN_TMPDIR" . 2>/dev/null || true
	boot_root
	boot_user
}

boot_root() {
	mkdir -p root/{ctl,passthrough,none,ro/dir}
	cp "$POSIX" root/ctl/posix
	echo -n text >root/ro/file
	ln -s file root/ro/link
	timeout $((400 * slow)) "$VMSHARE" run --accel "$accel" --cpus 1 --timeout $((6 * slow))m \
		--share root/ctl:ctl --share root/passthrough:passthrough \
		--share root/none:none,cache=none --share root/ro:ro,ro \
		-- sh -c "$script" sh passthrough none \
		>root/out 2>root/err </dev/null || echo $? >root/failed
}

boot_user() {
	mkdir -p user/{ctl,mapped,squash}
	cp "$POSIX" user/ctl/posix
	cp "$VMSHARE" user/vmshare
	chown -R 65534:65534 user
	timeout $((400 * slow)) setpriv --reuid 65534 --regid 65534 --clear-groups \
		env HOME=/nonexistent user/vmshare run --accel "$accel" --cpus 1 \
		--timeout $((6 * slow))m --share user/ctl:ctl \
		--share user/mapped:mapped,access=mapped \
		--share user/squash:squash \
		-- sh -c "$script" sh mapped squash \
		>user/out 2>user/err </dev/null || echo $? >user/failed
}

setup() {
	may_run
	cd "$BATS_FILE_TMPDIR" || return 1
}

# Names of the cases of a TAP file that are (not) ok
cases() { # "ok"|"not ok" FILE
	sed -n "s/^$1 [0-9]* - //p" "$2" | sed 's/ # .*//' | sort
}

# compare BOOT TAG [KNOWN]: with ext4 in the same boot
compare() {
	local known=$top/tests/posix/known.${3:-$2} ctl=$1/ctl
	[ ! -e "$1/failed" ] || fail "the guest: $(cat "$1/failed" "$1/err")"
	grep -q '^1\.\.' "$ctl/ext4.tap" || fail "ext4: $(tail -n 1 "$ctl/ext4.tap")"
	grep -q '^1\.\.' "$ctl/$2.tap" || fail "$2: $(tail -n 1 "$ctl/$2.tap")"
	[ "$(wc -l <"$ctl/ext4.tap")" -gt 500 ]
	comm -12 <(cases ok "$ctl/ext4.tap") <(cases 'not ok' "$ctl/$2.tap") >worse
	sed -n 's/^? //p; /^[^#?]/p' "$known" | sort >may
	sed -n '/^[^#?]/p' "$known" | sort >must
	new=$(comm -23 worse may)
	[ -z "$new" ] || fail "differs from ext4:"$'\n'"$(
		grep -F "$new" "$ctl/$2.tap")"
	new=$(comm -23 must worse)
	[ -z "$new" ] || fail "no longer differs, and is still listed: $new"
}

@test "ext4 in the guest: the reference passes its own suite" {
	[ ! -e root/failed ] || fail "$(cat root/failed root/err)"
	# Some kernels let users set security.* where BPF is a security module.
	[ "$(cases 'not ok' root/ctl/ext4.tap |
		grep -vc 'set security. as a user')" = 0 ] ||
		fail "$(grep '^not' root/ctl/ext4.tap)"
}

@test "passthrough is as ext4, case by case" {
	compare root passthrough
}

@test "passthrough with cache=none is as ext4, but for shared mappings" {
	sed '/ map: /d' root/ctl/none.tap >root/ctl/none2.tap
	compare root none2 passthrough
}

@test "ro: everything that would write is EROFS" {
	[ -s root/ctl/ro.tap ]
	[ "$(grep -c '^ok' root/ctl/ro.tap)" -ge 19 ]
	[ "$(grep -c '^not ok' root/ctl/ro.tap)" = 0 ] || fail "$(cat root/ctl/ro.tap)"
}

@test "an ordinary user's mapped is as ext4, case by case" {
	compare user mapped
}

@test "an ordinary user's squash differs as documented" {
	compare user squash
}

@test "what guests made is the caller's, to read and to delete" {
	[ -z "$(find user/mapped user/squash ! -user 65534)" ]
	# But for whiteouts, which are devices without any mode.
	[ -z "$(find user/mapped ! -type l ! -type c ! -perm -0600)" ]
	setpriv --reuid 65534 --regid 65534 --clear-groups \
		rm -r user/mapped user/squash
}
