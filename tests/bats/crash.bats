#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# A share survives its server: guests that work on two shares (their root is
# one) while the workers of both are killed, or another program takes both
# over. CRASH_KILLS is how often workers are killed; 10 is the default, 100
# takes some minutes. What is printed as pauses are the longest of the times in
# which a file was opened meanwhile, as many as there were kills.

load helper

setup_file() {
	needs_guest
}

setup() {
	may_run
	cd "$BATS_TEST_TMPDIR" || return 1
	mark
	mkdir share
	kills=${CRASH_KILLS:-10}
	cp "$VMSHARE" program
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

kill_one() {
	local victim
	until victim=$(workers "$parent" | shuf -n 1) && [ -n "$victim" ] &&
		kill -9 "$victim" 2>/dev/null; do
		kill -0 "$parent" || return
	done
}

# As a package manager does: a new file gets the old one's name.
update() {
	local before
	before=$(pgrep -P "$parent" vmshare-share | sort)
	cp "$VMSHARE" new && mv new program
	"$VMSHARE" restart "$parent" >>restarted 2>&1 ||
		fail "restart: $(cat restarted) $(cat err)"
	[ -z "$(comm -12 <(echo "$before") \
		<(pgrep -P "$parent" vmshare-share | sort))" ] ||
		fail "an old keeper is still there"
}

# Each of these goes on in a guest until share/enough is there.
part_names() {
	cat <<-'END'
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
	echo "$n rounds of names"
	END
}
part_data() {
	cat <<-'END'
	n=0
	mkdir data && cd data || exit 9
	while [ ! -e ../enough ]; do
		n=$((n + 1))
		fio --name=verify --rw=randwrite --bs=16k --size=1m \
			--numjobs=8 --ioengine=psync --verify=crc32c \
			--verify_fatal=1 --output-format=terse --thread \
			>fio.out 2>&1 || { cat fio.out; exit 20; }
		rm verify.* || exit 21
	done
	cd .. && rm -r data || exit 22
	echo "$n rounds of fio"
	END
}
part_git() {
	cat <<-'END'
	export HOME=/tmp GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory
	export GIT_CONFIG_VALUE_0='*'
	n=0
	while [ ! -e enough ]; do
		n=$((n + 1))
		git clone -q --no-hardlinks source "clone$n" || exit 30
		git -C "clone$n" fsck --no-progress || exit 31
		[ -z "$(git -C "clone$n" status --porcelain)" ] || exit 32
		rm -r "clone$n" || exit 33
	done
	echo "$n clones"
	END
}
part_make() {
	cat <<-'END'
	n=0
	while [ ! -e enough ]; do
		n=$((n + 1))
		make -s -j4 -C project || exit 40
		[ "$(project/sum)" = 36 ] || exit 41
		make -s -C project clean || exit 42
	done
	echo "$n builds"
	END
}
part_probe() {
	cat <<-'END'
	while [ ! -e enough ]; do
		a=$EPOCHREALTIME
		: >probe || exit 50
		b=$EPOCHREALTIME
		echo $((${b/./} - ${a/./}))
	done >/tmp/probe
	rm probe && cp /tmp/probe probed || exit 51
	END
}
make_source() {
	git init -q share/source
	for i in $(seq 40); do
		seq "$i" $((i * 50)) >"share/source/file$i"
		mkdir -p "share/source/dir$((i % 7))"
		echo "$i" >"share/source/dir$((i % 7))/f$i"
	done
	git -C share/source add .
	git -C share/source -c user.name=t -c user.email=t@localhost \
		commit -qm source
}
make_project() {
	mkdir share/project
	{
		printf 'sum: main.o'
		printf ' f%d.o' 1 2 3 4 5 6 7 8
		printf '\n\tcc -o $@ $^\nclean:\n\trm sum *.o\n'
	} >share/project/Makefile
	{
		echo '#include <stdio.h>'
		printf 'int f%d(void);\n' 1 2 3 4 5 6 7 8
		echo 'int main(void) { return printf("%d\n", 0'
		printf ' + f%d()' 1 2 3 4 5 6 7 8
		echo ') < 0; }'
	} >share/project/main.c
	for i in 1 2 3 4 5 6 7 8; do
		echo "int f$i(void) { return $i; }" >"share/project/f$i.c"
	done
}

# work TIMES COMMAND PART...: the parts run in a guest, all at once, while
# COMMAND succeeds so many times at random. Sets parent, status, out, err.
work() {
	local times=$1 what=$2 n=0 part
	shift 2
	for part in "$@"; do
		"part_$part" >"share/part-$part"
	done
	cat >share/work <<-END
	cd /mnt/share || exit 9
	: >started
	for part in $*; do
		bash ./part-\$part || { s=\$?; echo "\$part: \$s"; exit \$s; } &
		pids="\$pids \$!"
	done
	for pid in \$pids; do
		wait \$pid || exit
	done
	END
	./program run --accel "$accel" --cpus 1 --timeout $((20 * slow))m \
		--share "$PWD/share:share" -- sh /mnt/share/work \
		>out 2>err </dev/null &
	parent=$!
	wait_for 120 [ -e share/started ]
	while [ $n -lt "$times" ] && kill -0 $parent 2>/dev/null; do
		sleep 0.$((RANDOM % 80 + 10))
		$what || break
		n=$((n + 1))
	done
	: >share/enough
	status=0
	wait $parent || status=$?
	out=$(cat out) err=$(cat err)
	rm -f share/part-* share/work share/started share/enough
	echo "# $n times $what; ${out//$'\n'/, }" >&3
	[ $n -ge "$times" ] || fail "ended after $n, status $status: $err"
}

# Half and longest of the $1 longest times that were measured.
pauses() {
	sort -n share/probed | tail -n "$1" | awk -v all="$(wc -l <share/probed)" '
		{ t[NR] = $1 / 1000 }
		END {
			printf "# of %d opens the %d longest: ", all, NR
			printf "p50 %.1f ms, max %.1f ms\n", t[int((NR + 1) / 2)], t[NR]
		}' >&3
	rm share/probed
}

# All of its warnings are about workers that were killed.
only_killed() {
	! grep -v -e 'killed by signal 9 (Killed); another one goes on$' \
		-e '/dev/kvm' -e '--device /dev/kvm' err ||
		fail "it said more"
	ended 0
}

have() {
	local what
	for what in "$@"; do
		command -v "$what" >/dev/null ||
			skip "no $what on this machine"
	done
}

@test "killed: each mkdir, rename, link and unlink once" {
	work "$kills" kill_one names probe
	only_killed
	pauses "$kills"
	[ -z "$(ls -A share)" ] || fail "left: $(ls -R share)"
	nothing_left
}

@test "killed: fio verifies, a clone is whole, a build right, names too" {
	have fio git make cc
	make_source
	make_project
	work "$kills" kill_one names data git make
	only_killed
	[ "$(ls share)" = "project"$'\n'"source" ] || fail "left: $(ls share)"
	nothing_left
}

@test "updated ten times: the same, and the run ends as if nothing was" {
	have fio git
	make_source
	work 10 update names data git probe
	[ "$(grep -c ' restarted$' restarted)" = 20 ]
	[ "$(grep -c 'program has taken over within' err)" = 20 ]
	! grep -v -e 'program has taken over within' -e '/dev/kvm' \
		-e '--device /dev/kvm' err || fail "it said more"
	ended 0
	pauses 10
	[ "$(ls share)" = source ] || fail "left: $(ls share)"
	nothing_left
}

@test "updated by signal: all shares; one of them by its tag" {
	tag=t$$-$RANDOM
	"$VMSHARE" serve --share "share:$tag" --socket s >out 2>err &
	server=$!
	wait_for 10 test -S s
	wait_for 10 eval '"$VMSHARE" ps | grep -q "$tag="'
	kill -USR2 $server
	wait_for 20 grep -q 'has taken over within' err
	v restart "$tag"
	ended 0
	prints "share '$tag' of pid $server restarted"
	v restart "$tag-no"
	ended 125
	says "restart: no share '$tag-no' is running"
	v restart
	ended 125
	says "restart needs a PID or a TAG"
	kill $server
	wait $server
	nothing_left
}

# served: one share, whose keeper and worker are $keeper and $worker
served() {
	"$VMSHARE" serve --share share:t --socket s >out 2>err </dev/null &
	server=$!
	wait_for 10 test -S s
	wait_for 10 new_worker
}
new_worker() { # another one than there was
	local now
	keeper=$(pgrep -P "$server" vmshare-share) &&
		now=$(pgrep -P "$keeper") && [ "$now" != "${worker:-}" ] &&
		worker=$now
}
server_ended() {
	status=0
	wait $server || status=$?
	err=$(cat err)
	ended "$1"
	[ ! -e s ]
	nothing_left
}

# What confines a worker, with the namespaces and the root that it sees.
bounds() {
	grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp)' "/proc/$worker/status"
	readlink "/proc/$worker/"ns/{mnt,pid,net,ipc,uts,user}
	stat -c %d:%i "/proc/$worker/root/" "/proc/$worker/cwd/"
	cat "/proc/$worker/limits"
}

@test "the next worker is confined as the first was" {
	served
	bounds >before
	grep -q '^Seccomp:.2$' before
	kill -9 "$worker"
	wait_for 10 new_worker
	wait_for 10 grep -q '^Seccomp_filters:.*[^0]$' "/proc/$worker/status"
	wait_for 5 eval 'bounds >after; cmp -s before after' ||
		fail "$(diff before after)"
	kill $server
	server_ended 0
}

@test "five deaths with no request between end the share" {
	served
	for i in 1 2 3 4; do
		kill -SEGV "$worker"
		wait_for 10 new_worker
	done
	# By hand is none of them.
	kill -9 "$worker"
	wait_for 10 new_worker
	kill -SEGV "$worker"
	server_ended 123
	says "error: share 't': the file server was killed by signal 11 (Segmentation fault) once more without having completed a request"
	[ "$(grep -c '(Segmentation fault); another one goes on$' err)" = 4 ]
	[ "$(grep -c '(Killed); another one goes on$' err)" = 1 ]
}

@test "what the filter of system calls ends is not started again" {
	served
	kill -SYS "$worker"
	server_ended 123
	# Which one is made up here: nobody called.
	says "error: the file server made the system call"
	grep -E 'call [a-z_0-9]+, number [0-9]+, which it never' err
	says "which it never needs: its share ends"
	! grep 'another one goes on' err || fail "it went on"
}
