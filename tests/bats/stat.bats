#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# Looking inside: ps, stat and SIGUSR1, of a server alone and of a guest's, as
# root and as an ordinary user, and that nothing stays of it after a kill.

load helper

setup_file() {
	needs_guest NO_GUEST
}

setup() {
	cd "$BATS_TEST_TMPDIR" || return 1
	mark
	mkdir src
	tag=t$$-$BATS_TEST_NUMBER
}

teardown() {
	local p
	for p in $(marked); do kill -9 "$p" 2>/dev/null || true; done
}

serve() { # in the background; $server is its pid. as: the command to run it by
	"${as[@]}" "$VMSHARE" serve --share "src:$tag" --socket s "$@" >served.out \
		2>served.err </dev/null &
	server=$!
	wait_for 30 test -S s
	wait_for 30 eval '"$VMSHARE" ps | grep -q "$tag="'
}

@test "a process that was just forked is not another server" {
	command -v strace >/dev/null || skip "strace is not installed"
	# The guardian and the share before each has given itself a name.
	# shellcheck disable=SC2016 # for the inner shell
	strace -f -o trace -e trace=prctl -e inject=prctl:delay_enter=2000000 \
		"$VMSHARE" serve --share "src:$tag" --socket s 2>served.err \
		</dev/null &
	wait_for 30 eval '"$VMSHARE" ps | grep -q "$tag="'
	for _ in 1 2 3 4 5; do
		v ps
		[ "$(grep -c "$tag=" <<<"$out")" = 1 ] || fail "$out"
	done
	wait_for 30 test -S s
	v stat "$tag"
	[ "$(grep -c "share '$tag'" <<<"$out")" = 1 ] || fail "$out"
}

@test "a user of a thousand groups" {
	[ "$(id -u)" = 0 ] || skip "needs root to be in them"
	local as=(setpriv --groups "$(seq -s, 2000000001 2000001000)")
	serve
	v ps
	[[ $(grep "$tag=" <<<"$out") =~ ^\ *$server\  ]] || fail "$out"
}

@test "ps and stat find a server, by process and by tag" {
	serve
	v ps
	ended 0
	silent_on err
	[ "$(grep -c "$tag=" <<<"$out")" = 1 ]
	[[ $(grep "$tag=" <<<"$out") =~ ^\ *$server\ +[0-9]+s\ serve ]]
	prints "$PWD/s; $tag=$PWD/src"
	for target in "$server" "$tag"; do
		v stat "$target"
		ended 0
		prints "share '$tag', pid $server: $PWD/src"
		prints "0 running"
		prints "1 nodes; "
	done
	kill -TERM $server
	wait $server
	v stat "$tag"
	ended 125
	v ps
	[[ $out != *"$tag="* ]]
}

@test "what a script gets is JSON, whatever the paths are" {
	command -v python3 >/dev/null || skip "python3 is not installed"
	mkdir $'a "b"\n\033c'
	"$VMSHARE" serve --share $'a "b"\n\033c'":$tag" --socket s 2>served.err &
	server=$!
	wait_for 30 test -S s
	wait_for 30 eval '"$VMSHARE" ps | grep -q "$tag="'
	v ps
	prints 'a "b"\x0a\x1bc'
	v ps --json
	ended 0
	[ "$(python3 -c 'import json,sys
for p in json.load(open("out")):
    for s in p["shares"]:
        if s["tag"] == sys.argv[1]: print(p["pid"], p["command"], repr(s["dir"]), s["ro"])' "$tag")" = \
		"$server serve '$PWD/a \"b\"\\n\\x1bc' False" ]
	v stat --json "$tag"
	ended 0
	python3 -c 'import json
s, = json.load(open("out"))
assert s["nodes"] == 1 and s["running"] == 0 and s["operations"] == []'
}

@test "stat: nobody there, too many words, a mistyped option" {
	refused 125 "stat: no share 'no-$tag' is running" \
		"'vmshare ps' lists what runs" stat "no-$tag"
	refused 125 "stat: pid 1 is no vmshare with a share" - stat 1
	refused 125 "unexpected argument 'b'" - stat a b
	refused 125 "unexpected argument 'a'" - ps a
	refused 125 "unknown option '--wach'" "did you mean --watch?" \
		stat --wach
}

@test "watch ends with what it watches" {
	serve
	"$VMSHARE" stat --watch "$tag" >watched 2>watched.err </dev/null &
	watch=$!
	wait_for 30 eval '[ "$(grep -c "^share" watched)" -ge 2 ]'
	kill -TERM $server
	wait $server
	wait $watch
	[ ! -s watched.err ]
}

@test "killed with -9: nothing is listed and nothing left" {
	serve
	kill -9 $server
	wait $server || true
	nothing_left
	v ps
	[[ $out != *"$tag="* ]]
}

@test "SIGUSR1 to a server with nothing to do is answered and harmless" {
	serve
	kill -USR1 $server
	wait_for 30 grep -q "share '$tag': no request has run for 100 ms" served.err
	kill -USR1 $server
	wait_for 30 eval '[ "$(grep -c "no request" served.err)" = 2 ]'
	kill -TERM $server
	wait $server
}

@test "an ordinary user sees his own, and nobody else's" {
	[ "$(id -u)" = 0 ] || skip "needs root to become somebody else"
	command -v setpriv >/dev/null || skip "setpriv is not installed"
	serve
	other=(setpriv --reuid 65534 --regid 65534 --clear-groups)
	install -m 755 "$VMSHARE" vmshare
	mkdir theirs
	chown 65534:65534 theirs
	chmod 755 . .. ../.. 2>/dev/null
	"${other[@]}" ./vmshare ps >out || skip "they can't reach this directory"
	if grep -q "$tag=" out; then fail "theirs: $(cat out)"; fi
	"${other[@]}" ./vmshare stat $server 2>err && return 1
	grep -q "stat $server: Permission denied" err
	"${other[@]}" ./vmshare serve --share "theirs:u$tag" \
		--socket theirs/s 2>theirs.err &
	wait_for 30 test -S theirs/s
	wait_for 30 eval '"${other[@]}" ./vmshare ps | grep -q "u$tag="'
	"${other[@]}" ./vmshare stat "u$tag" >out
	grep -q "share 'u$tag'" out
}

@test "a guest's requests are counted, and one that waits is named" {
	[ -z "${NO_GUEST:-}" ] || skip "$NO_GUEST"
	command -v flock >/dev/null || skip "flock is not installed"
	echo data >src/data
	# A name that would colour a terminal.
	exec 7<>src/$'l\033[31m'
	flock 7
	"$VMSHARE" run --accel "$accel" --cpus 1 --timeout $((3 * slow))m -s "src:$tag" -- sh -c \
		"cat /mnt/$tag/data
		flock /mnt/$tag/l* true" >out 2>err </dev/null &
	guest=$!
	wait_for 120 grep -q data out
	v ps
	[[ $(grep "$tag=" <<<"$out") =~ ^\ *$guest\ +[0-9ms]+\ run ]]
	# Asked again until the guest has got as far as that.
	wait_for 60 eval 'kill -USR1 $guest; sleep 0.5
		grep -qF "SETLKW of /l\x1b[31m (node " err'
	grep -a "SETLKW of " err |
		grep -qE "share '$tag': .* has run for [0-9.]+ s and waits for a lock$"
	if grep -qa $'\033' err; then fail "$(cat -v err)"; fi
	v stat "$tag"
	ended 0
	prints "1 running (oldest "
	for op in INIT OPEN READ RELEASE; do
		[[ $out =~ $op\ +[1-9][0-9]*\ +[0-9]+\ .*\ (ns|us|ms) ]] || fail "no $op: $out"
	done
	v stat --json "$tag"
	ended 0
	jq -e --argjson pid $guest '.[0] | .pid == $pid and .running == 1 and
		.nodes > 1 and (.operations[] | select(.name == "LOOKUP") |
			.count >= 1 and .p50_ns > 0 and .p99_ns >= .p50_ns)' out
	"$VMSHARE" stat --watch "$tag" >watched 2>watched.err </dev/null &
	watch=$!
	wait_for 30 eval '[ "$(grep -c "^share" watched)" -ge 2 ]'
	flock -u 7
	wait $guest
	wait $watch
	[ ! -s watched.err ]
	nothing_left
}

@test "check tells each layer of confinement, and what is left without" {
	bootable disk.img
	standin_full qemu
	export VMSHARE_QEMU=$PWD/qemu
	v check --accel tcg --share "src:$tag" disk.img
	ended 0
	says "note: share '$tag' is confined by: checks of names, openat2"
	v check --accel tcg --share "src:$tag,sandbox=none,seccomp=none" disk.img
	ended 0
	says "share '$tag' runs without namespaces (switched off); checks of names"
	says "share '$tag' runs without seccomp (switched off); a server that"
	v check --json --accel tcg --share "src:$tag,seccomp=none" disk.img
	ended 0
	silent_on err
	jq -e '.confinement | length == 6' out
	jq -e '.confinement[] | select(.layer == "seccomp") | .on == false and
		.why == "switched off"' out
}

@test "check: an ordinary user has the same layers, or is told which not" {
	[ "$(id -u)" = 0 ] || skip "needs root to become somebody else"
	mkdir -p user/src same
	cp "$VMSHARE" user/vmshare
	standin_full user/qemu
	bootable user/disk.img
	chown -R 12345:12345 user
	chmod 755 "$BATS_RUN_TMPDIR" "$BATS_SUITE_TMPDIR" "$BATS_FILE_TMPDIR" \
		"$BATS_FILE_TMPDIR"/.. . .. 2>/dev/null || true
	check_as_user() { # [chroot DIR] OPTIONS
		local options=$1
		shift
		"$@" setpriv --reuid=12345 --regid=12345 --clear-groups \
			env VMSHARE_QEMU="$PWD/user/qemu" "$PWD/user/vmshare" \
			check --accel tcg --share "$PWD/user/src:$tag$options" \
			"$PWD/user/disk.img" 2>&1 || echo "status $?"
	}
	[[ $(check_as_user '') == *"is confined by: checks of names, openat2, \
namespaces, Landlock, dropped capabilities, seccomp"* ]]
	# In a chroot the kernel gives nobody a user namespace.
	mount --bind / same
	mount --bind /proc same/proc
	less=$(check_as_user '' chroot "$PWD/same")
	asked=$(check_as_user ,sandbox=namespace chroot "$PWD/same")
	umount same/proc same
	[[ $less == *"confined by: checks of names, openat2, Landlock, "* ]]
	[[ $less == *"runs without namespaces (making a user namespace: \
Operation not permitted); checks of names, openat2 and Landlock"* ]]
	[ "$(grep -c "runs without" <<<"$less")" = 1 ]
	[[ $asked == *"error: share '$tag': making a user namespace: "*status* ]]
}

@test "messages: to the system's log" {
	[ ! -e /dev/log ] || skip "this machine has a log"
	serve --syslog
	grep -q "warning: --syslog: /dev/log: No such file or directory; messages go to stderr" served.err
	kill -TERM $server
	wait $server
	rm -f s
	[ -w /dev ] || skip "/dev is not ours"
	command -v python3 >/dev/null || skip "python3 is not installed"
	python3 - >logged <<-'END' &
		import os, socket
		s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
		s.bind("/dev/log")
		s.settimeout(20)
		try:
		    print(ascii(s.recv(2000).decode()))
		finally:
		    os.unlink("/dev/log")
	END
	log=$!
	wait_for 30 test -S /dev/log
	serve --syslog
	kill -USR1 $server
	wait $log
	[ "$(cat logged)" = "\"<29>vmshare[$server]: note: share '$tag': no request has run for 100 ms\"" ] ||
		fail "$(cat logged)"
	[ ! -s served.err ]
}

@test "messages: priorities for a journal, levels" {
	serve --log-level warning
	kill -USR1 $server
	sleep 0.5
	[ ! -s served.err ]
	kill -TERM $server
	wait $server
	mkfifo journal
	cat journal >journaled &
	exec 6>journal
	JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/6) \
		"$VMSHARE" serve --share "src:$tag" --socket s 2>&6 </dev/null &
	server=$!
	wait_for 30 test -S s
	wait_for 30 eval '"$VMSHARE" ps | grep -q "$tag="'
	kill -USR1 $server
	wait_for 30 grep -q "^<5>vmshare: note: share '$tag': no request" journaled
	kill -TERM $server
	wait $server
	# So does what is said before the options are known.
	JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/6) \
		"$VMSHARE" serve --no-such 2>&6 </dev/null || true
	wait_for 30 grep -q "^<3>vmshare: error: unknown option '--no-such'" journaled
	exec 6>&-
}

@test "what a command wrote and a full disk did not take" {
	[ -z "${NO_GUEST:-}" ] || skip "$NO_GUEST"
	status=0
	"$VMSHARE" run --accel "$accel" --cpus 1 --timeout $((3 * slow))m --console stdio -- \
		echo hello >/dev/full 2>err </dev/null || status=$?
	[ $status = 125 ]
	# The console was asked for; standard output is the command's.
	grep -q "Linux version" err
	[[ $(cat err) != *"the guest is up"* ]]
	grep -q "error: what the command wrote is not all there: No space left" err
	status=0
	"$VMSHARE" run -v --accel "$accel" --cpus 1 --timeout $((3 * slow))m -- sh -c \
		'echo hello; exit 3' >/dev/full 2>err </dev/null || status=$?
	[ $status = 3 ]
	grep -qE "^vmshare: info: the guest is up after [0-9]+\.[0-9] s" err
	nothing_left
}
