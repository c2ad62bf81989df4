#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# What one guest is told that asks for locks which others have.

load helper

# shellcheck disable=SC2016 # for the guest's shell
guest_script='
cd /mnt/edge
./ask ofd o
touch ofd.closed
until [ -e ofd.seen ]; do sleep 0.1; done
./ask circle circle
./ask /mnt/refuses/held w W f F | sed "s/^/refuses /"
./ask /mnt/local/held w f | sed "s/^/local /"
flock /mnt/local/held flock -n /mnt/local/held true || echo local excludes
./ask held W & waiter=$!
until grep -q "(ask) S" /proc/$waiter/stat; do sleep 0.1; done
sleep 2
kill -9 $waiter
sleep 1
sed -n "s/^State:/waiter/p" /proc/$waiter/status
touch waiting
wait $waiter 2>/dev/null
echo waiter ended
'

setup_file() {
	export LOCKS=${LOCKS:-$top/build/tests/locks}
	needs_guest
	[ -x "$LOCKS/ask" ] || export SKIP="tests/locks is not built"
	[ -z "${SKIP:-}" ] || return 0
	cd "$BATS_FILE_TMPDIR" || return 1
	mkdir edge
	cp "$LOCKS/ask" edge
	timeout $((900 * slow)) "$VMSHARE" run --accel "$accel" --cpus 1 --timeout $((14 * slow))m \
		--share edge:edge,cache=none \
		--share edge:refuses,block-locks=off \
		--share edge:local,posix-lock=off,flock=off \
		-- sh -c "$guest_script" >guest.out 2>guest.err </dev/null 3>&- &
	local guest=$!
	on_host
	wait $guest || echo $? >guest.failed
}

# It has a lock of each kind on one file until a process of the guest waits.
on_host() {
	local hold
	mkfifo fifo
	"$LOCKS/ask" edge/held w f hold <fifo >hold.out 2>&1 3>&- &
	exec {hold}>fifo
	if wait_for 600 test -e edge/ofd.closed; then
		"$LOCKS/ask" edge/ofd w >ofd.out
		touch edge/ofd.seen
		wait_for 300 test -e edge/waiting || true
	fi
	echo >&"$hold"
	exec {hold}>&-
}

setup() {
	may_run
	cd "$BATS_FILE_TMPDIR" || return 1
}

everything() {
	cat guest.failed guest.err hold.out guest.out 2>/dev/null
}

@test "locks of an open file end with its last close" {
	grep -qx 'o ok' guest.out || fail "$(everything)"
	[ "$(cat ofd.out)" = 'w ok' ]
}

@test "two processes of a guest that wait for each other: one is told" {
	grep -qx 'circle EDEADLK' guest.out || fail "$(everything)"
}

@test "block-locks=off: what would wait is told so at once" {
	[ "$(sed -n 's/^refuses //p' guest.out | xargs)" = \
		"w EAGAIN W EOPNOTSUPP f EAGAIN F EOPNOTSUPP" ] ||
		fail "$(everything)"
}

@test "posix-lock=off, flock=off: locks hold within the guest only" {
	[ "$(sed -n 's/^local //p' guest.out | xargs)" = "w ok f ok excludes" ] ||
		fail "$(everything)"
}

@test "who waits can't be killed, and is gone once the lock is free" {
	grep -q '^waiter.*D' guest.out || fail "$(everything)"
	grep -qx 'waiter ended' guest.out
}
