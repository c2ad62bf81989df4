#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# Locks of guests are locks of the host, and what each cache mode promises:
# two guests share a directory with each other and with processes here.

load helper

torture_processes=3
torture_turns=20
rows=15

# In the guest: 1, or 2. Both begin when both are there.
# shellcheck disable=SC2016 # for the guest's shell
guest_script='
cd /mnt/data
touch ready.$1
until [ -e go ]; do sleep 0.1; done
for kind in fcntl flock; do
	./torture $kind.file $kind $2 $3 2>>torture.err && echo $kind
done
for i in $(seq $4); do echo "insert into t values($1, $i);"; done |
	sqlite3 -cmd ".timeout 60000" shared.db && echo sqlite
[ $1 = 1 ] || exit 0
wal() {
	for i in $(seq $2); do echo "insert into t values($1, $i);"; done |
		sqlite3 -cmd ".timeout 60000" /mnt/auto/wal.db
}
sqlite3 /mnt/auto/wal.db "pragma journal_mode=wal;
	create table t(who, i)" >/dev/null
for i in 1 2 3; do wal $i $4 & done
wait
[ "$(sqlite3 /mnt/auto/wal.db "select count(*) from t")" = $(($4 * 3)) ] &&
	[ "$(sqlite3 /mnt/auto/wal.db "pragma integrity_check")" = ok ] &&
	echo wal
dd if=torture of=/mnt/writeback/copy bs=16 count=2000 2>/dev/null && sync &&
	cmp -n 32000 torture /mnt/writeback/copy && echo written
for mode in auto none; do cat /mnt/$mode/[fg]; done >/dev/null
stat /mnt/always/f /mnt/always/g >/dev/null
touch count.1
until [ -e counted.1 ]; do sleep 0.1; done
for i in $(seq 100); do [ -s /mnt/always/f ] && [ -s /mnt/always/g ]; done
touch count.2
until [ -e counted.2 ]; do sleep 0.1; done
touch changing
until [ -e changed ]; do :; done
echo none $(cat /mnt/none/f /mnt/none/g)
echo always $(stat -c %s /mnt/always/f /mnt/always/g)
cat /mnt/auto/g >/dev/null && echo replaced
began=$(cut -d. -f1 /proc/uptime)
until [ "$(cat /mnt/auto/f /mnt/auto/g)" = "newer
newer" ]; do sleep 0.1; done
echo auto $(($(cut -d. -f1 /proc/uptime) - began))
'

setup_file() {
	export TORTURE=${TORTURE:-$top/build/tests/locks/torture}
	needs_guest
	command -v sqlite3 >/dev/null || export SKIP="no sqlite3"
	[ -x "$TORTURE" ] || export SKIP="tests/locks is not built"
	[ -z "${SKIP:-}" ] || return 0
	cd "$BATS_FILE_TMPDIR" || return 1
	mkdir data auto none always writeback
	# what stat finds, and no other machine's
	export ALWAYS=always$$ WRITEBACK=writeback$$
	cp "$TORTURE" data/torture
	sqlite3 data/shared.db 'create table t(who, i)'
	for d in auto none always; do echo old | tee $d/f >$d/g; done
	boot 1 --share auto:auto,timeout=2s --share none:none,cache=none \
		--share "always:$ALWAYS,mount=/mnt/always,cache=always" \
		--share "writeback:$WRITEBACK,mount=/mnt/writeback,writeback" &
	boot 2 &
	on_host
	count 1
	count 2
	change
	wait
}

boot() { # NUMBER SHARE...
	local number=$1
	shift
	timeout $((400 * slow)) "$VMSHARE" run --accel "$accel" --cpus 1 --timeout $((6 * slow))m \
		--share data:data,cache=none "$@" -- sh -c "$guest_script" sh \
		"$number" $torture_processes $torture_turns $rows \
		>"guest$number.out" 2>"guest$number.err" </dev/null ||
		echo $? >"guest$number.failed"
}

on_host() {
	wait_for 120 eval '[ -e data/ready.1 ] && [ -e data/ready.2 ]' || return 0
	touch data/go
	for kind in fcntl flock; do
		data/torture data/$kind.file $kind $torture_processes \
			$torture_turns 2>>torture.err && echo $kind
	done >host.out
	for i in $(seq $rows); do echo "insert into t values(0, $i);"; done |
		sqlite3 -cmd '.timeout 60000' data/shared.db && echo sqlite >>host.out
}

count() { # NUMBER: what each share was asked until then
	wait_for 300 test -e "data/count.$1" || return 0
	"$VMSHARE" stat --json "$ALWAYS" >"always.$1"
	"$VMSHARE" stat --json "$WRITEBACK" >"writeback.$1"
	touch "data/counted.$1"
}

# Another size and another file: in its place, and over it.
change() {
	wait_for 300 test -e data/changing || return 0
	for d in auto none always; do
		echo newer >$d/f
		echo newer >$d/new
		mv $d/new $d/g
	done
	touch data/changed
}

setup() {
	may_run
	cd "$BATS_FILE_TMPDIR" || return 1
}

# asked FILE OPERATION: how often
asked() {
	jq "[.[].operations[] | select(.name == \"$2\").count] | add // 0" "$1"
}

# said WORD: each of the two guests and the host
everyone() {
	for f in guest1 guest2 host; do
		grep -qx "$1" $f.out || fail "$f: $1: $(cat data/torture.err \
			torture.err $f.failed $f.err $f.out 2>/dev/null)"
	done
}

@test "fcntl: two guests and the host, never two owners, no wait that stays" {
	everyone fcntl
	[ "$(od -An -t u8 data/fcntl.file | xargs)" = \
		"0 $((3 * torture_processes * torture_turns))" ]
}

@test "flock: the same" {
	everyone flock
	[ "$(od -An -t u8 data/flock.file | xargs)" = \
		"0 $((3 * torture_processes * torture_turns))" ]
}

@test "sqlite with a rollback journal, from two guests and the host" {
	everyone sqlite
	[ "$(sqlite3 data/shared.db 'select count(*) from t')" = $((3 * rows)) ]
	[ "$(sqlite3 data/shared.db 'pragma integrity_check')" = ok ]
}

@test "sqlite with a write-ahead log, from processes of one guest" {
	grep -qx wal guest1.out || fail "$(cat guest1.out guest1.err)"
}

@test "cache=none: the host's changes are seen at once" {
	grep -qx 'none newer newer' guest1.out || fail "$(cat guest1.out)"
}

@test "cache=auto: seen within the timeout; what was replaced is no error" {
	grep -qx replaced guest1.out || fail "$(cat guest1.out guest1.err)"
	# Two seconds, and what a busy machine adds.
	took=$(sed -n 's/^auto //p' guest1.out)
	[ "$took" -le 6 ] || fail "took $took s"
}

@test "cache=always: names that are cached are not asked for" {
	[ "$(asked always.1 LOOKUP)" -ge 2 ] || fail "$(cat always.1)"
	for op in LOOKUP GETATTR; do
		[ "$(asked always.1 $op)" = "$(asked always.2 $op)" ] ||
			fail "$op: $(cat always.1 always.2)"
	done
}

@test "writeback: writes are held back and merged, and all of them arrive" {
	grep -qx written guest1.out || fail "$(cat guest1.out guest1.err)"
	cmp -n 32000 data/torture writeback/copy
	[ "$(asked writeback.2 WRITE)" -ge 1 ]
	[ "$(asked writeback.2 WRITE)" -le 200 ] || fail "$(cat writeback.2)"
}

@test "cache=always: what is cached is not asked for" {
	# Reading a file would make the guest ask for its access time later on.
	grep -qx 'always 4 4' guest1.out || fail "$(cat guest1.out)"
}
