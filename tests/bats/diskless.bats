#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# A guest without a disk: `vmshare run -- COMMAND`, its streams, its status,
# its root, as root and as an ordinary user, with an older and a newer kernel.

load helper

setup_file() {
	needs_guest
	image backports SKIP_NEW
	[ -n "${SKIP:-}" ] || tour
}

# One guest that looks at everything, into $got/results; the tests up to the
# next headline compare.
tour() {
	export got=$BATS_FILE_TMPDIR/tour odd=$'a b\nc "d" \'e\' $f \\ * \x01\xff'
	mkdir -p "$got/src/sub" "$got/only" "$got/results" /tmp
	secret=$(mktemp /tmp/vmshare-test-secret.XXXXXX)
	head -c 3000000 /dev/urandom >"$got/src/random"
	echo inside >"$got/src/sub/f"
	echo 1 >"$got/only/f"
	cat >"$got/src/sub/look" <<-'END'
		to=/srv/deep
		printf '%s|' "$@" >$to/args
		uname -r >$to/uname
		env >$to/env
		{ pwd; cat f; echo back >new; } >$to/cwd
		cat /mnt/only/f >$to/only
		touch /mnt/only/new 2>/dev/null || echo refused >>$to/only
		echo x >/etc/vmshare-was-here && cat /etc/vmshare-was-here >$to/etc
		ls -A /root /home /tmp /run >$to/hidden
		{ cat /proc/sys/kernel/hostname; stat -c 'homes %a' /root /home; } >$to/places
		getent hosts vmshare >$to/name
		ls /sys/class/net >$to/net
		cat /mnt/src/random
		echo e >&2
		exit 7
	END
	cd "$got/src/sub" || return 1
	status=0
	SECRET=1 PASSED=yes timeout $((180 * slow)) "$VMSHARE" run --accel "$accel" --cpus 1 \
		--share "$got/src:src" --share "$got/only:only,ro" \
		--share "$got/results:results,mount=/srv/deep" \
		--env A=b --env PASSED -- sh ./look "$odd" '' -- "it's" \
		</dev/null >"$got/out" 2>"$got/err" || status=$?
	echo "$status" >"$got/status"
	rm -f "$secret"
}
result() { # NAME: what the guest of the tour found
	cat "$got/results/$1" || fail "the tour failed: $(cat "$got/err")"
}

setup() {
	may_run
	cd "$BATS_TEST_TMPDIR" || return 1
	mark
	limit=180
}

# g ARG...: run in a guest
g() {
	v run --accel "$accel" --cpus 1 --timeout $((2 * slow))m "$@"
}

# ---- what the tour saw -------------------------------------------------------

@test "the exit status is the command's" {
	[ "$(cat "$got/status")" = 7 ] ||
		fail "status $(cat "$got/status"): $(cat "$got/err")"
}

@test "the kernel is the host's newest" {
	result uname >version
	[ "/boot/vmlinuz-$(cat version)" -ef "$kernel" ] ||
		[ -e "/lib/modules/$(cat version)" ]
}

@test "binary output arrives whole, stdout and stderr apart, nothing else said" {
	cmp "$got/src/random" "$got/out"
	[ "$(cat "$got/err")" = e ]
}

@test "arguments arrive byte for byte, without a shell" {
	[ "$(result args)" = "$odd||--|it's|" ]
}

@test "a share is at /mnt/TAG, the caller's directory is the command's" {
	[ "$(result cwd)" = $'/mnt/src/sub\ninside' ]
	[ "$(cat "$got/src/sub/new")" = back ]
}

@test "mount=, ro, three shares" {
	[ "$(result only)" = $'1\nrefused' ]
	[ ! -e "$got/only/new" ]
}

@test "the root looks writable and forgets" {
	[ "$(result etc)" = x ]
	[ ! -e /etc/vmshare-was-here ]
}

@test "what must not be reachable is not: /proc, /sys, /dev, /run, /tmp, /root, /home" {
	[ "$(result hidden)" = $'/home:\n\n/root:\n\n/run:\n\n/tmp:' ] ||
		fail "the guest sees $(result hidden)"
	# The guest's own /proc says so.
	[ "$(result places)" = $'vmshare\nhomes 700\nhomes 755' ]
	# sudo and others look their machine's name up.
	grep -q '^127\.0\.1\.1 .*vmshare' <<<"$(result name)"
}

@test "environment: PATH, HOME, --env, and nothing of the host's" {
	result env >vars
	grep -qx A=b vars
	grep -qx PASSED=yes vars
	grep -q ^PATH=/ vars
	grep -qx HOME=/root vars
	[ "$(grep -c SECRET vars)" = 0 ]
}

@test "no network unless asked for" {
	[ "$(result net)" = lo ]
}

# ---- one guest each ----------------------------------------------------------

@test "as a user, with a network, ended by a signal: 128 and its number" {
	ln -s / slash	# is the host's root as well, and hides the same
	g --user nobody --net user --root slash -- sh -c 'id -u
		ls /sys/class/net /home
		ip route 2>/dev/null || cat /proc/net/route
		kill -SEGV $$'
	ended 139
	[ "${out%%$'\n'*}" = "$(id -u nobody)" ]
	prints $'/home:\n\n/sys'
	[[ $out == *eth0* || $out == *en* ]]
	refused 125 "--root-rw: the guest could write to the whole host" - \
		run --root slash --root-rw -- true
}

@test "a command that is not there is 127, a user who is not 122" {
	g -- /no/such/command
	ended 127
	[ "$err" = "vmshare: error: /no/such/command: No such file or directory" ]
	g --user no-such-user -- true
	ended 122
	says "vmshare: error: the guest failed: no user 'no-such-user' in the guest"
}

@test "a stdin that can't be read is said and is no success" {
	status=0
	timeout $((180 * slow)) "$VMSHARE" run --accel "$accel" --cpus 1 --timeout $((2 * slow))m -- cat \
		</ >out 2>err || status=$?
	err=$(cat err)
	ended 125
	says "vmshare: error: what the command could read is not all there: Is a directory"
	[ ! -s out ]
}

@test "100 MB in by a pipe, all of it out again, and its sum" {
	head -c 100M /dev/urandom >random
	status=0
	timeout $((300 * slow)) "$VMSHARE" run --accel "$accel" --timeout $((4 * slow))m -- \
		sh -c 'tee /dev/fd/2 | sha256sum' <random >out 2>err || status=$?
	[ $status = 0 ] || fail "status $status: $(tail -c 1000 err)"
	cmp random err
	[ "$(cut -d ' ' -f 1 out)" = "$(sha256sum <random | cut -d ' ' -f 1)" ]
	rm random err
}

@test "a kernel panic is 122 and its text" {
	g -- sh -c 'echo c >/proc/sysrq-trigger'
	ended 122	# and not the timeout's 124
	says "vmshare: error: the guest's kernel panicked"
	says "Kernel panic - not syncing: sysrq triggered crash"
	nothing_left
}

@test "--dump: a core of a panicked guest, and of no other" {
	g --dump core -- sh -c 'echo c >/proc/sysrq-trigger'
	ended 122
	says "vmshare: note: the guest's memory is in core (1 GiB)"
	says "vmshare: error: the guest's kernel panicked"
	[ "$(stat -c %a core)" = 600 ]
	if command -v readelf >/dev/null; then
		readelf -h core | grep -q 'CORE (Core file)'
		readelf -n core >notes
		grep -q NT_PRSTATUS notes
		grep -q VMCOREINFO notes
		# SYMBOL(init_uts_ns) and the like, for crash.
		grep -aq '^SYMBOL(init_uts_ns)=' core
	fi
	rm core
	g --dump core -- sh -c 'exit 3'
	ended 3
	[ ! -e core ]
	g --dump core -- sh -c 'echo b >/proc/sysrq-trigger; sleep 60'
	ended 122
	says "the guest ended before its command did"
	[ ! -e core ]
	g --dump /dev/full -- sh -c 'echo c >/proc/sysrq-trigger'
	ended 122
	says "vmshare: error: --dump /dev/full: "
	says "vmshare: error: the guest's kernel panicked"
	nothing_left
}

@test "--timeout is 124" {
	v run --accel "$accel" --timeout 3s -- sleep 100
	ended 124
	nothing_left
}

@test "no reader of the output: ends, with nothing left" {
	# As a number that nobody has, which is its own and only group.
	timeout $((120 * slow)) "$VMSHARE" run --accel "$accel" --timeout $((1 * slow))m --user 12345 -- \
		sh -c 'id; while echo y; do :; done' 2>err | head -n 1 >first
	[ "$(cat first)" = "uid=12345 gid=12345 groups=12345" ]
	nothing_left
}

@test "TERM goes to the command" {
	timeout $((120 * slow)) "$VMSHARE" run --accel "$accel" --timeout $((1 * slow))m -- sh -c \
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
	timeout $((120 * slow)) "$VMSHARE" run --accel "$accel" --timeout $((1 * slow))m \
		--share "$PWD/secret-place:t" -- \
		sh -c 'echo >/mnt/t/up; read -r line' <in >out 2>err \
		9<"$BATS_TEST_FILENAME" &
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

# Of 2 GiB: its firmware has tables where the initramfs could end.
@test "kernel 6.12, compressed modules, QEMU 10" {
	[ -z "${SKIP_NEW:-}" ] || skip "$SKIP_NEW"
	g -m 2G --qemu "$backports/qemu-system-x86_64" \
		--kernel "$(echo "$backports"/boot/vmlinuz-*)" --share .:here \
		-- sh -c 'uname -r; echo 1 >/mnt/here/made'
	ended 0
	[[ $out == 6.12* ]]
	[ "$(cat made)" = 1 ]
}

@test "the command starts in the share, the caller's directory, or --workdir" {
	mkdir -p a/sub b
	g --share a:a -- pwd
	[ "$out" = /mnt/a ] || fail "$out; $err"
	g --share a:a --share b:b,mount=/opt/b -- pwd
	[ "$out" = / ]
	cd a/sub
	g --share ..:a --share ../../b:b -- pwd
	[ "$out" = /mnt/a/sub ]
	g --share ..:a --workdir /usr -- pwd
	[ "$out" = /usr ]
	g --share ..:a --workdir /nowhere -- pwd
	ended 122
	says "working directory /nowhere: No such file or directory"
}

@test "a root's own kernel with its own modules: --kernel root" {
	image root
	may_run
	local own=("$root"/boot/vmlinuz-*)
	[ -e "${own[0]}" ] || skip "the tree of the tests has no kernel"
	g --root "$root" --kernel root --share .:here -- \
		sh -c 'uname -r; echo 1 >/mnt/here/made'
	ended 0
	[ -e "$root/boot/vmlinuz-$out" ] || fail "$out"
	[ "$(cat made)" = 1 ]
}

@test "another root with --root, with what the host has mounted in it" {
	[ "$(id -u)" = 0 ] || skip "needs root to mount"
	image root
	may_run
	local tree=$root
	# Seen by this shell and its guests only.
	cat >mounted <<-'END'
		mount -t proc proc "$1/proc" && mount --bind /dev "$1/dev" &&
		mount -t tmpfs a "$1/srv" && mount -t tmpfs b "$1/opt" || exit 99
		echo 1 >"$1/srv/f"
		echo 2 >"$1/opt/f"
		[ "$(stat -c %i "$1/srv/f")" = "$(stat -c %i "$1/opt/f")" ] || exit 98
		shift
		exec "$@"
	END
	status=0
	timeout $((180 * slow)) unshare -m sh mounted "$tree" "$VMSHARE" run --accel "$accel" \
		--cpus 1 --timeout $((2 * slow))m --root "$tree" -- sh -c '
		cat /etc/debian_version; sqlite3 --version | head -c 2
		cat /proc/1/comm /srv/f /opt/f; ls /dev | grep -cx -e kvm -e tty1
		[ "$(stat -c %i /srv/f)" != "$(stat -c %i /opt/f)" ] && echo apart
		' </dev/null >out 2>err || status=$?
	[ $status = 0 ] || fail "status $status: $(cat err)"
	[ "$(cat out)" = "$(cat "$tree/etc/debian_version")
3.init
1
2
1
apart" ] || fail "$(cat out)"
	# Written through, it can't be covered, and no command runs.
	status=0
	timeout $((180 * slow)) unshare -m sh mounted "$tree" "$VMSHARE" run --accel "$accel" \
		--cpus 1 --timeout $((2 * slow))m --root "$tree" --root-rw -- true \
		</dev/null >out 2>err || status=$?
	err=$(cat err)
	ended 122
	says "the guest failed: the root's /proc is no place to mount on: Permission denied"
	nothing_left
}

# All of it takes an emulated processor the better part of an hour: the room
# that all others build on, and its test, have to do.
@test "a room of vmshare is built in a guest, from its own tree" {
	command -v gcc >/dev/null || skip "no compiler"
	mkdir tree
	(cd "$top" && git ls-files -co --exclude-standard | while read -r f; do
		[ ! -e "$f" ] || echo "$f"; done | tar -cf - -T -) | tar -xf - -C tree
	# QEMU 10 emulates two to four times faster.
	limit=900 v run --accel "$accel" -m 1G --timeout $((14 * slow))m --share tree:src \
		${backports:+--qemu "$backports/qemu-system-x86_64"} -- \
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
	timeout $((180 * slow)) setpriv --reuid 1000 --regid 1000 --clear-groups \
		env HOME=/nonexistent ./vmshare-user "$@" \
		>out 2>err </dev/null || status=$?
	out=$(cat out) err=$(cat err)
}

@test "as an ordinary user: squash is the guest's root, mapped keeps owners" {
	mkdir share maps
	echo mine >share/f
	as_user run --accel "$accel" --timeout $((2 * slow))m --share share:s \
		--share maps:m,access=mapped -- sh -c '
		id -u; stat -c %u /mnt/s/f; echo x >/mnt/s/new
		chown 5:5 /mnt/s/new; chmod 640 /mnt/s/new
		stat -c %u:%g /usr; stat -c %u:%a /etc/shadow
		cd /mnt/m; echo x >f; chown 33:44 f; chmod 4755 f; mknod n c 1 3
		stat -c %u:%g:%a f; stat -c %F n'
	ended 0
	# Another user's file that can't be read can be looked at; all is root's.
	[ "$out" = $'0\n0\n0:0\n0:'"$(stat -c %a /etc/shadow)"$'\n33:44:4755\ncharacter special file' ] ||
		fail "$out"
	[ "$(stat -c %u:%a share/new)" = 1000:640 ]
	[ "$(stat -c %u:%F maps/f)" = "1000:regular file" ]
	nothing_left
}

@test "as an ordinary user with --user: the shares are that user's" {
	mkdir share
	echo mine >share/f
	echo shut >share/shut
	chmod 600 share/shut
	as_user run --accel "$accel" --timeout $((2 * slow))m --user nobody --share share:s -- sh -c '
		id -un; cd /mnt/s; stat -c %U f; cat shut
		echo x >new && mkdir dir && echo y >dir/z && chmod 640 new && rm f
		stat -c %U:%a new dir'
	ended 0
	[ "$out" = $'nobody\nnobody\nshut\nnobody:640\nnobody:755' ] || fail "$out; $err"
	[ "$(stat -c %u:%a share/new)" = 1000:640 ]
	[ "$(stat -c %u share/dir/z)" = 1000 ]
	[ ! -e share/f ]
	nothing_left
}

# ---- terminals ---------------------------------------------------------------

t() {
	tmux -S "$BATS_TEST_TMPDIR/tmux" "$@"
}
shows() {
	t capture-pane -p | grep -qF -- "$1"
}
sees() { # SECONDS TEXT
	wait_for "$1" shows "$2" || fail "$(t capture-pane -p)"
}
cooked() { # what the last stty of terminal() found
	t capture-pane -p | grep -qx icanon
}
tildes() { # how many lines vi has that the file has not
	t capture-pane -p | grep -c '^~'
}
# terminal COLUMNS ROWS COMMAND: in a shell that says the status in the end
terminal() {
	command -v tmux >/dev/null || skip "tmux is not installed"
	cat >inside.sh <<-END
		$3
		echo "status \$?"
		stty -a | grep -o '[-]*icanon'	# not raw any more
		sleep 100
	END
	t new-session -d -x "$1" -y "$2" "sh ./inside.sh"
	t set-option -g window-size manual
}
teardown() {
	[ ! -e "$BATS_TEST_TMPDIR/tmux" ] || t kill-server 2>/dev/null || true
}

@test "a terminal: size, resize, interrupt, jobs, vi, exit status" {
	command -v vi >/dev/null || skip "vi is not installed"
	mkdir here
	echo "first line" >here/text
	terminal 100 30 "\"$VMSHARE\" run --accel $accel --cpus 1 --timeout $((4 * slow))m --share here:here"
	wait_for 120 eval 't capture-pane -p | grep -qE "[#\$] *$"'
	shows "/mnt/here is here; ^A x ends the guest"
	t send-keys 'stty size; pwd; echo pr""inted' Enter
	sees 20 printed
	shows "30 100"
	t capture-pane -p | grep -qx /mnt/here
	t resize-window -x 90 -y 25
	t send-keys 'until [ "$(stty size)" = "25 90" ]; do sleep 1; done; echo aga""in' Enter
	sees 30 again
	# One process says it and sleeps: a shell that gets ^C between two
	# commands, as it forks the second, may leave the terminal to it.
	t send-keys "sh -c 'echo beg\"\"un; exec sleep 100'" Enter
	sees 20 begun
	t send-keys C-c
	t send-keys "sh -c 'echo interr\"\"upted; exec cat'" Enter
	sees 30 interrupted
	t send-keys C-z
	sees 20 Stopped
	t send-keys 'clear; vi /mnt/here/text; echo edi""ted' Enter
	sees 60 "first line"
	wait_for 20 eval '[ "$(tildes)" -ge 20 ] && [ "$(tildes)" -le 24 ]'
	t send-keys o 'second line' Escape
	sees 20 'second line'
	# It draws anew by itself: the guest's vi was told of its new size.
	t resize-window -x 60 -y 40
	wait_for 20 eval '[ "$(tildes)" -ge 34 ]'
	t resize-window -x 60 -y 12
	wait_for 20 eval '[ "$(tildes)" -le 10 ]'
	t send-keys ':wq' Enter
	# Not before: vi throws away what is typed while it ends.
	sees 60 edited
	# "exit" would complain of a job whose death bash has not seen yet.
	t send-keys "kill -9 %1; exec sh -c 'exit 5'" Enter
	sees 30 "status 5"
	wait_for 10 cooked
	[ "$(cat here/text)" = $'first line\nsecond line' ]
	nothing_left
}

@test "a terminal: ^C before the guest is up ends it" {
	terminal 80 24 "\"$VMSHARE\" run --accel $accel --cpus 1 --timeout $((1 * slow))m"
	tty=$(t display-message -p '#{pane_tty}')
	wait_for 20 eval 'stty -a -F "$tty" | grep -qw -e -icanon'
	t send-keys C-c
	sees 20 "status 130"
	wait_for 10 cooked
	nothing_left
}
