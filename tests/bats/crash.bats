#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# A share survives its server: guests that work on two shares (their root is
# one) while the workers of both are killed. CRASH_KILLS is how often; 10 is
# the default, 100 takes some minutes.

load helper

setup_file() {
	for k in /boot/vmlinuz-*; do
		[ -r "$k" ] || k=
	done
	[ -n "${k:-}" ] || export SKIP="no kernel in /boot that can be read"
	command -v qemu-system-x86_64 >/dev/null ||
		command -v qemu-system-aarch64 >/dev/null || export SKIP="no QEMU"
}

setup() {
	may_run
	cd "$BATS_TEST_TMPDIR" || return 1
	mark
	mkdir share
	kills=${CRASH_KILLS:-10}
}

teardown() {
	for p in $(marked); do kill -9 "$p" 2>/dev/null || true; done
}

# workers PID: those of all shares of a run
workers() {
	local keeper
	for keeper in $(pgrep -P "$1" vmshare-share); do
		pgrep -P "$keeper" || true
	done
}

# work: run ./share/work in a guest until share/enough is there, and meanwhile
# kill a worker at random, $kills times. Sets status, out, err.
work() {
	local parent victim n=0 started
	"$VMSHARE" run --accel tcg --cpus 1 --timeout 20m \
		--share "$PWD/share:share" -- sh /mnt/share/work \
		>out 2>err </dev/null &
	parent=$!
	wait_for 120 [ -e share/started ]
	while [ $n -lt "$kills" ] && kill -0 $parent 2>/dev/null; do
		sleep 0.$((RANDOM % 80 + 10))
		victim=$(workers $parent | shuf -n 1)
		[ -z "$victim" ] || ! kill -9 "$victim" 2>/dev/null || n=$((n + 1))
	done
	: >share/enough
	status=0
	wait $parent || status=$?
	out=$(cat out) err=$(cat err)
	echo "# $n workers killed; $out" >&3
	[ $n -ge "$kills" ] || fail "ended after $n kills, status $status: $err"
}

# All of its warnings are about workers that were killed.
only_killed() {
	! grep -v -e 'killed by signal 9 (Killed); another one goes on$' \
		-e '/dev/kvm' -e '--device /dev/kvm' err ||
		fail "it said more"
	ended 0
}

@test "names: each mkdir, rename, link and unlink once" {
	cat >share/work <<-'END'
	cd /mnt/share || exit 9
	: >started
	n=0
	while [ ! -e enough ]; do
		n=$((n + 1))
		mkdir "a$n" || exit 10
		mv "a$n" "b$n" || exit 11
		echo "hello $n" >"b$n/f" || exit 12
		echo "more" >>"b$n/f" || exit 13
		ln "b$n/f" "b$n/g" || exit 14
		ln -s f "b$n/h" || exit 15
		[ "$(cat "b$n/h")" = "hello $n
	more" ] || exit 16
		rm "b$n/f" "b$n/g" "b$n/h" || exit 17
		rmdir "b$n" || exit 18
	done
	echo "$n rounds"
	END
	work
	only_killed
	[ "$(find share -mindepth 1 -printf '%f\n' | sort | tr '\n' ' ')" = \
		"enough started work " ] || fail "left: $(ls -R share)"
	nothing_left
}

@test "data: fio reads back what it wrote" {
	command -v fio >/dev/null || skip "no fio on this machine"
	cat >share/work <<-'END'
	cd /mnt/share || exit 9
	: >started
	n=0
	while [ ! -e enough ]; do
		n=$((n + 1))
		fio --name=verify --rw=randwrite --bs=16k --size=2m --numjobs=4 \
			--ioengine=psync --verify=crc32c --verify_fatal=1 \
			--output-format=terse --thread >fio.out 2>&1 ||
			{ cat fio.out; exit 10; }
		rm verify.*
	done
	echo "$n rounds"
	END
	work
	only_killed
}

@test "git: a clone is whole" {
	command -v git >/dev/null || skip "no git on this machine"
	git init -q share/source
	for i in $(seq 40); do
		seq "$i" $((i * 50)) >"share/source/file$i"
		mkdir -p "share/source/dir$((i % 7))"
		echo "$i" >"share/source/dir$((i % 7))/f$i"
	done
	git -C share/source add .
	git -C share/source -c user.name=t -c user.email=t@localhost \
		commit -qm source
	cat >share/work <<-'END'
	cd /mnt/share || exit 9
	export HOME=/tmp GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory
	export GIT_CONFIG_VALUE_0='*'
	: >started
	n=0
	while [ ! -e enough ]; do
		n=$((n + 1))
		git clone -q --no-hardlinks source "clone$n" || exit 10
		git -C "clone$n" fsck --no-progress || exit 11
		[ -z "$(git -C "clone$n" status --porcelain)" ] || exit 12
		rm -r "clone$n" || exit 13
	done
	echo "$n clones"
	END
	work
	only_killed
}
