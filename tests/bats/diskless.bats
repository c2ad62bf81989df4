#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# A guest without a disk: `vmshare run -- COMMAND`, its streams, its status,
# its root, as root and as an ordinary user, with an older and a newer kernel.

load helper

setup_file() {
	for k in /boot/vmlinuz-*; do
		[ -r "$k" ] || k=
	done
	[ -n "${k:-}" ] || export SKIP="no kernel in /boot that can be read"
	command -v qemu-system-x86_64 >/dev/null ||
		command -v qemu-system-aarch64 >/dev/null || export SKIP="no QEMU"
	export kernel=${k:-}
	if said=$("$top/tests/images/get" backports 2>&1); then
		export backports=${said##*$'\n'}
	else
		export SKIP_NEW=${said##*$'\n'}
	fi
}

setup() {
	may_run
	cd "$BATS_TEST_TMPDIR" || return 1
	mark
	limit=180
}

# g ARG...: run in a guest
g() {
	v run --accel tcg --cpus 1 --timeout 2m "$@"
}

@test "uname -r is the kernel's, and nothing else is said" {
	g -- uname -r
	ended 0
	[ "/boot/vmlinuz-$out" -ef "$kernel" ] || [ -e "/lib/modules/$out" ]
	silent_on err
	nothing_left
}

@test "the exit status is the command's, or 128 and its signal" {
	g -- sh -c 'exit 7'
	ended 7
	g -- sh -c 'kill -SEGV $$'
	ended 139
	g -- /no/such/command
	[ "$status" = 127 ] || [ "$status" = 122 ]
	[ -n "$err" ]
}

@test "100 MB in by a pipe, the sum out" {
	head -c 100M /dev/urandom >random
	status=0
	timeout 300 "$VMSHARE" run --accel tcg --timeout 4m -- sha256sum \
		<random >out 2>err || status=$?
	[ $status = 0 ] || fail "status $status: $(cat err)"
	[ "$(cut -d ' ' -f 1 out)" = "$(sha256sum <random | cut -d ' ' -f 1)" ]
}

@test "binary output arrives whole, stdout and stderr apart" {
	head -c 3000000 /dev/urandom >random
	g --share .:here -- sh -c 'cat /mnt/here/random; echo e >&2'
	ended 0
	cmp random "$BATS_TEST_TMPDIR/out"
	[ "$err" = e ]
}

@test "arguments arrive byte for byte, without a shell" {
	local odd=$'a b\nc "d" \'e\' $f \\ * \x01\xff'
	g -- printf '%s|' "$odd" '' '--' "it's"
	ended 0
	[ "$out" = "$odd||--|it's|" ]
}

@test "a share is at /mnt/TAG, the caller's directory is the command's" {
	mkdir -p src/sub
	echo inside >src/sub/f
	cd src/sub
	g --share "$BATS_TEST_TMPDIR/src:src" -- sh -c 'pwd; cat f; echo back >new'
	ended 0
	[ "$out" = $'/mnt/src/sub\ninside' ]
	[ "$(cat new)" = back ]
}

@test "mount=, ro, two shares" {
	mkdir a b
	echo 1 >a/f
	g --share a:a,ro --share b:b,mount=/srv/deep -- sh -c \
		'cat /mnt/a/f >/srv/deep/copy && ! touch /mnt/a/new'
	ended 0
	[ "$(cat b/copy)" = 1 ]
	[ ! -e a/new ]
}

@test "the root looks writable and forgets" {
	g -- sh -c 'echo x >/etc/vmshare-was-here && cat /etc/vmshare-was-here'
	ended 0
	[ "$out" = x ]
	[ ! -e /etc/vmshare-was-here ]
}

@test "what must not be reachable is not: /proc, /sys, /dev, /run, /tmp, /root, /home" {
	echo secret >"/tmp/vmshare-test-secret"
	g -- sh -c 'ls -A /root /home /tmp | grep -v : ; cat /tmp/vmshare-test-secret;
		ls /run; cat /proc/1/comm; stat -c "homes %a" /root /home'
	rm -f /tmp/vmshare-test-secret
	[[ $out != *secret* ]]
	[[ $out == *$'homes 700\nhomes 755' ]]
	[ -z "$(ls -A /root)" ] || [[ $out != *"$(basename "$(find /root -mindepth 1 -maxdepth 1 | head -n 1)")"* ]]
}

@test "environment: PATH, HOME, --env, and nothing of the host's" {
	export SECRET=1 PASSED=yes
	g --env A=b --env PASSED -- env
	ended 0
	prints $'\nA=b' || prints A=b
	prints PASSED=yes
	prints PATH=/
	[[ $out != *SECRET* ]]
}

@test "--user runs it as that user" {
	g --user nobody -- id -u
	ended 0
	[ "$out" = "$(id -u nobody)" ]
}

@test "a kernel panic is 122 and its text, within seconds" {
	local began=$SECONDS
	g -- sh -c 'echo c >/proc/sysrq-trigger'
	ended 122
	says "panic"
	[ $((SECONDS - began)) -lt 60 ]
	nothing_left
}

@test "--timeout is 124" {
	v run --accel tcg --timeout 8s -- sleep 100
	ended 124
	nothing_left
}

@test "no reader of the output: ends, with nothing left" {
	timeout 120 "$VMSHARE" run --accel tcg --timeout 1m -- sh -c \
		'while echo y; do :; done' 2>err | head -n 1 >first
	[ "$(cat first)" = y ]
	nothing_left
}

@test "TERM goes to the command" {
	timeout 120 "$VMSHARE" run --accel tcg --timeout 1m -- sh -c \
		'trap "echo caught; exit 3" TERM; echo ready; while :; do sleep 1; done' \
		>out 2>err </dev/null &
	pid=$!
	wait_for 60 grep -q ready out
	kill -TERM "$(pgrep -P $pid)"
	st=0
	wait $pid || st=$?
	[ $st = 3 ] || [ $st = 143 ]
	nothing_left
}

@test "QEMU is shut in, holds what it needs, and knows no share" {
	mkdir secret-place
	mkfifo in
	timeout 120 "$VMSHARE" run --accel tcg --timeout 1m \
		--share "$PWD/secret-place:t" -- \
		sh -c 'echo >/mnt/t/up; read -r line' <in >out 2>err &
	pid=$!
	exec 7>in
	wait_for 60 test -e secret-place/up
	qemu=$(pgrep -P "$(pgrep -P $pid)" qemu)
	tr '\0' '\n' <"/proc/$qemu/cmdline" >words
	grep -qx -A1 -e -sandbox words
	grep -q '^on,.*elevateprivileges=deny.*spawn=deny.*resourcecontrol=deny' \
		words
	[ "$(awk '$1 == "Seccomp:" { print $2 }' "/proc/$qemu/status")" = 2 ]
	# Neither by name nor by descriptor nor as memory.
	[ -z "$(grep secret-place words "/proc/$qemu/maps")" ]
	find "/proc/$qemu/fd" -type l -printf '%l\n' >held
	grep -q memfd:vmshare-ram held
	sed -E '/^(pipe|socket|anon_inode):/d; /^\/dev\/(null|kvm)$/d
		/^\/memfd:vmshare-(ram[0-9]+|initramfs) /d
		/^\/boot\//d; /\.(rom|bin|fd)$/d' held >rest
	[ ! -s rest ] || fail "QEMU holds $(cat rest)"
	echo >&7
	exec 7>&-
	st=0
	wait $pid || st=$?
	[ $st = 0 ] || fail "status $st: $(cat err)"
	nothing_left
}

@test "network only where asked for" {
	g -- ls /sys/class/net
	ended 0
	[ "$out" = lo ]
	g --net user -- sh -c 'ls /sys/class/net; ip route 2>/dev/null || cat /proc/net/route'
	ended 0
	[[ $out == *eth0* || $out == *en* ]]
}

@test "kernel 6.12, compressed modules, QEMU 10" {
	[ -z "${SKIP_NEW:-}" ] || skip "$SKIP_NEW"
	g --qemu "$backports/qemu-system-x86_64" --modules "$backports" \
		--kernel "$(echo "$backports"/boot/vmlinuz-*)" --share .:here \
		-- sh -c 'uname -r; echo 1 >/mnt/here/made'
	ended 0
	[[ $out == 6.12* ]]
	[ "$(cat made)" = 1 ]
}

@test "another root with --root" {
	local tree
	tree=$("$top/tests/images/get" root 2>/dev/null) || skip "no other tree to be had"
	g --root "$tree" -- sh -c 'cat /etc/debian_version; ls /mnt/ctl; sqlite3 --version'
	[[ $out == *"$(cat "$tree/etc/debian_version")"* ]]
}

# All of it takes an emulated processor the better part of an hour: the room
# that all others build on, and its test, have to do.
@test "a room of vmshare is built in a guest, from its own tree" {
	command -v gcc >/dev/null || skip "no compiler"
	mkdir tree
	(cd "$top" && git ls-files -co --exclude-standard | while read -r f; do
		[ ! -e "$f" ] || echo "$f"; done | tar -cf - -T -) | tar -xf - -C tree
	limit=900 v run --accel tcg -m 1G --timeout 14m --share tree:src -- \
		make -C /mnt/src build/tests/test_base
	ended 0
	tree/build/tests/test_base
}

# As nobody in particular, with no passwd entry, no terminal, no home.
as_user() {
	[ "$(id -u)" = 0 ] || skip "needs root to become somebody else"
	chmod 755 "$BATS_RUN_TMPDIR" "$BATS_FILE_TMPDIR" "$BATS_TEST_TMPDIR" 2>/dev/null || true
	cp "$VMSHARE" ./vmshare-user
	chown -R 1000:1000 .
	status=0
	timeout 180 setpriv --reuid 1000 --regid 1000 --clear-groups \
		env HOME=/nonexistent ./vmshare-user "$@" \
		>out 2>err </dev/null || status=$?
	out=$(cat out) err=$(cat err)
}

@test "as an ordinary user: runs, and owns what the guest's root makes" {
	mkdir share
	echo mine >share/f
	as_user run --accel tcg --timeout 2m --share share:s -- sh -c \
		'id -u; stat -c %u /mnt/s/f; echo x >/mnt/s/new; chown 5:5 /mnt/s/new; chmod 640 /mnt/s/new
		stat -c %u:%g /usr; stat -c %u:%a /etc/shadow'
	ended 0
	# Another user's file that can't be read can be looked at; all is root's.
	[ "$out" = $'0\n0\n0:0\n0:'"$(stat -c %a /etc/shadow)" ]
	[ "$(stat -c %u:%a share/new)" = 1000:640 ]
	nothing_left
}

@test "as an ordinary user: mapped keeps full ownership for the guest" {
	mkdir share
	as_user run --accel tcg --timeout 2m --share share:s,access=mapped -- sh -c \
		'cd /mnt/s; echo x >f; chown 33:44 f; chmod 4755 f; mknod n c 1 3
		stat -c %u:%g:%a f; stat -c %F n'
	ended 0
	[ "$out" = $'33:44:4755\ncharacter special file' ]
	[ "$(stat -c %u:%F share/f)" = "1000:regular file" ]
}

@test "an interactive shell on a terminal: echo, size, resize, exit status" {
	command -v tmux >/dev/null || skip "tmux is not installed"
	local sock=$BATS_TEST_TMPDIR/tmux
	t() {
		tmux -S "$sock" "$@"
	}
	shows() {
		t capture-pane -p | grep -qF -- "$1"
	}
	cat >inside.sh <<-END
		"$VMSHARE" run --accel tcg --timeout 3m
		echo "status \$?"
		stty -a | grep -o 'icanon'
		sleep 100
	END
	t new-session -d -x 100 -y 30 "sh ./inside.sh"
	t set-option -g window-size manual
	wait_for 60 eval 't capture-pane -p | grep -qE "[#\$] *$"'
	t send-keys 'stty size; echo pr""inted' Enter
	wait_for 20 shows printed
	shows "30 100"
	t resize-window -x 90 -y 25
	sleep 1
	t send-keys 'stty size; echo aga""in' Enter
	wait_for 20 shows again
	shows "25 90"
	t send-keys 'sleep 100' Enter
	sleep 1
	t send-keys C-c
	t send-keys 'echo interr""upted; exit 5' Enter
	wait_for 30 shows "status 5"
	shows interrupted
	shows icanon
	t kill-server
}

@test "vi on a terminal: typed into, resized, written" {
	command -v tmux >/dev/null || skip "tmux is not installed"
	command -v vi >/dev/null || skip "vi is not installed"
	local sock=$BATS_TEST_TMPDIR/tmux
	t() {
		tmux -S "$sock" "$@"
	}
	shows() {
		t capture-pane -p | grep -qF -- "$1"
	}
	tildes() { # how many lines vi has that the file has not
		t capture-pane -p | grep -c '^~'
	}
	mkdir here
	echo "first line" >here/text
	cat >inside.sh <<-END
		"$VMSHARE" run --accel tcg --timeout 4m --share here:here -- \
			vi /mnt/here/text
		echo "status \$?"
		sleep 100
	END
	t new-session -d -x 80 -y 24 "sh ./inside.sh"
	t set-option -g window-size manual
	wait_for 120 shows "first line"
	wait_for 20 eval '[ "$(tildes)" -ge 20 ] && [ "$(tildes)" -le 23 ]'
	t send-keys o 'sec""ond line' Escape
	wait_for 20 shows 'sec""ond line'
	# It draws anew by itself: the guest's vi was told of its new size.
	t resize-window -x 60 -y 40
	wait_for 20 eval '[ "$(tildes)" -ge 34 ]'
	t resize-window -x 60 -y 12
	wait_for 20 eval '[ "$(tildes)" -le 10 ]'
	t send-keys ':wq' Enter
	wait_for 60 shows "status 0"
	t kill-server
	[ "$(cat here/text)" = $'first line\nsec""ond line' ]
	nothing_left
}
