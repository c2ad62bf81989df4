#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# A guest whose root takes a share's device from its kernel and speaks to it
# by itself (tests/attack): what it can reach, for each sandbox, as root and as
# an ordinary user. One boot has a share for each, and beside each share lies
# what must not be reached.

load helper

secret='what the guest must not read'

setup_file() {
	export ATTACK=${ATTACK:-$top/build/tests/attack/attack}
	needs_guest
	[ -x "$ATTACK" ] || export SKIP="tests/attack is not built"
	chmod 755 "$BATS_RUN_TMPDIR" "$BATS_FILE_TMPDIR" 2>/dev/null || true
}

setup() {
	may_run
	chmod 755 "$BATS_TEST_TMPDIR" 2>/dev/null || true
	cd "$BATS_TEST_TMPDIR" || return 1
	mark
	mkdir tools
	cp "$ATTACK" tools/attack
}

teardown() {
	touch "$BATS_TEST_TMPDIR/stop"
	wait
}

# place NAME: a share, as tests/c/attempts.h wants it, and what is beside it
place() {
	mkdir -p "$1"/share/dir "$1"/outside/dir
	echo good | tee "$1/share/good" >"$1/share/dir/f"
	echo "$secret" | tee "$1"/outside/{f,secret} >"$1/outside/dir/f"
	chmod 666 "$1/outside/secret"
	ln -s ../outside/secret "$1/share/file"
	ln -s ../outside "$1/share/way"
	mkfifo "$1/share/fifo"
	[ "$(id -u)" != 0 ] || mknod -m 666 "$1/share/null" c 1 3
	outside "$1" >"$1/before"
}

# outside NAME: all that there is to know of what is beside it
outside() {
	find "$1/outside" -printf '%p %i %m %U %s %T@ %C@ %n\n' | sort
}

# swap NAME...: while a share has a file "swap", a directory in it and a link
# that leads out change places
swap() {
	local d
	set +eE # what the guest does there must not end it
	trap - ERR
	while [ ! -e stop ]; do
		for d; do
			if [ ! -e "$d/share/swap" ]; then
				rm -f "$d/share/swapping"
				continue
			fi
			touch "$d/share/swapping"
			mv -T "$d/share/dir" "$d/share/d"
			mv -T "$d/share/way" "$d/share/dir"
			mv -T "$d/share/dir" "$d/share/way"
			mv -T "$d/share/d" "$d/share/dir"
		done
		sleep 0.01
	done
} 2>/dev/null >&2 3>&-

# In the guest: TAG KIND...
# shellcheck disable=SC2016 # for the guest's shell
script='
failed=0
while [ $# -gt 0 ]; do
	umount /mnt/$1
	/mnt/tools/attack $1 $2 >/mnt/log/$1 2>&1 || failed=1
	# The kernel has it back, and finds a share there.
	mount -t virtiofs $1 /mnt/$1 && [ -e /mnt/$1/good ] || failed=1
	shift 2
done
exit $failed
'

over() { # the guest has ended; and nobody has failed
	touch stop
	ended 0 || fail "$(tail -n +1 log/*)"
}

# survives NAME N: none of the N attempts on that share came to anything
survives() {
	[ -s "log/$1" ] || fail "$1: nothing was tried: $err"
	! grep -qv -e '^ok' -e '^#' -e '^1\.\.' "log/$1" ||
		fail "$1: $(cat "log/$1")"
	[ "$(grep -c '^ok' "log/$1")" = "$2" ] || fail "$1: $(cat "log/$1")"
	outside "$1" | diff "$1/before" -
	[ "$(cat "$1"/outside/{f,secret,dir/f} | grep -c "^$secret\$")" = 3 ]
	! grep -rqs "$secret" "$1/share/good" "$1/share/dir" || fail "$1: got in"
}

@test "root's shares, in each sandbox, against raw access to their rings" {
	[ "$(id -u)" = 0 ] || skip "needs root"
	mkdir log
	for d in namespace chroot none ro; do place $d; done
	swap namespace chroot none &
	limit=400 v run --accel "$accel" --cpus 1 --memory 512M --timeout $((6 * slow))m \
		--share tools:tools,ro --share log:log \
		--share namespace/share:namespace,queues=2,xattr,open-files=128 \
		--share chroot/share:chroot,queues=2,xattr,open-files=128,sandbox=chroot \
		--share none/share:none,queues=2,xattr,open-files=128,sandbox=none \
		--share ro/share:ro,queues=2,xattr,ro \
		-- sh -c "$script" sh namespace rw chroot rw none rw ro ro
	over
	survives namespace 15
	survives chroot 15
	survives none 15
	survives ro 3
	# Some words each, not one for each of the hundreds of rings.
	says "share 'namespace': the guest broke queue 1: head 0: a chain is a loop"
	says "share 'none': refused a message: SET_VRING_ADDR of 40 bytes"
	[ "$(wc -l <<<"$err")" -lt 60 ] || fail "$err"
	nothing_left
}

@test "an ordinary user's shares, squashed and mapped" {
	[ "$(id -u)" = 0 ] || skip "needs root to become somebody else"
	cp "$VMSHARE" vmshare-user
	mkdir log
	chown 1000:1000 .
	chown -R 1000:1000 log
	for d in squash none mapped; do place $d; done
	chown -hR 1000:1000 squash none mapped
	for d in squash none mapped; do outside $d >$d/before; done
	swap squash none mapped &
	status=0
	timeout $((400 * slow)) setpriv --reuid 1000 --regid 1000 --clear-groups \
		env HOME=/nonexistent ./vmshare-user run --accel "$accel" --cpus 1 \
		--memory 512M --timeout $((6 * slow))m \
		--share tools:tools,ro --share log:log \
		--share squash/share:squash,queues=2,xattr,open-files=128 \
		--share none/share:none,queues=2,xattr,open-files=128,sandbox=none \
		--share mapped/share:mapped,queues=2,xattr,open-files=128,access=mapped \
		-- sh -c "$script" sh squash rw none rw mapped mapped \
		>out 2>err </dev/null || status=$?
	err=$(cat err)
	over
	survives squash 15
	survives none 15
	survives mapped 15
}

@test "QEMU 10, Linux 6.12" {
	image backports
	may_run
	mkdir log
	place new
	swap new &
	limit=400 v run --accel "$accel" --cpus 1 --memory 512M --timeout $((6 * slow))m \
		--qemu "$backports/qemu-system-x86_64" --modules "$backports" \
		--kernel "$(echo "$backports"/boot/vmlinuz-*)" \
		--share tools:tools,ro --share log:log \
		--share new/share:new,queues=2,xattr,open-files=128 \
		-- sh -c "$script" sh new rw
	over
	survives new 15
}
