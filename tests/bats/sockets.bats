#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# The socket of a server: whom it belongs to, who counts as a front end, and
# who removes it. No guest boots.

load helper

setup() {
	command -v python3 >/dev/null || skip "python3 is not installed"
	cd "$BATS_TEST_TMPDIR" || return 1
	mkdir src d
	mark
}

teardown() {
	local p
	for p in $(marked); do kill -9 "$p" 2>/dev/null || true; done
}

# serve ARG...: in the background, until it listens; $server is its pid
serve() {
	"$VMSHARE" serve --share src:t --socket d/s "$@" >served.out \
		2>served.err </dev/null &
	server=$!
	wait_for 30 listening $server
}
listening() { # PID: it has its file server
	pgrep -P "$1" vmshare-share >/dev/null
}
stops() { # PID STATUS
	local st=0
	wait_for 30 eval "! kill -0 $1 2>/dev/null"
	wait "$1" || st=$?
	[ $st = "$2" ] || fail "exit status $st, not $2: $(cat served.err)"
}
# client [MESSAGE]: connect, send it, hang up
client() {
	python3 - "$@" <<-'END'
		import socket, sys
		s = socket.socket(socket.AF_UNIX)
		s.connect("d/s")
		if sys.argv[1:]:
		    s.sendall(bytes.fromhex(sys.argv[1]))
	END
}
# GET_FEATURES
get_features=010000000100000000000000

stale() { # a socket that its process has left
	python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("d/s")'
}

@test "a second server does not end a first one that waits for one client" {
	serve --once
	refused 125 "--socket d/s: another process listens on it" - \
		serve --share src:t --socket d/s --once
	refused 125 "--socket d/s: another process listens on it" - \
		--shared-dir src --socket-path d/s
	kill -0 $server
	[ -S d/s ]
	client $get_features
	stops $server 0
	nothing_left
	[ -z "$(ls d)" ]
}

@test "who connects and says nothing is no client" {
	serve --once
	client
	client
	client $get_features
	stops $server 0
	[ -z "$(ls d)" ]
}

@test "a socket that nobody has is taken over" {
	stale
	serve
	kill -TERM $server
	stops $server 0
	[ -z "$(ls d)" ]
	[ "$(id -u)" = 0 ] || return 0
	# Its directory can't be read, which a lock would need.
	stale
	chown 65534 d d/s src
	chmod 300 d
	chmod 755 . .. ../.. 2>/dev/null || true
	install -m 755 "$VMSHARE" vmshare
	setpriv --reuid 65534 --regid 65534 --clear-groups ./vmshare serve \
		--share src:t --socket d/s >served.out 2>served.err </dev/null &
	server=$!
	wait_for 30 listening $server
	kill -TERM $server
	stops $server 0
	[ -z "$(ls d)" ]
}

@test "a socket of another kind, and one that was just bound, are another's" {
	python3 -c 'if True:
		import socket, time
		socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).bind("d/s")
		s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
		s.bind("d/held")
		t = socket.socket(socket.AF_UNIX)
		t.bind("d/bound")
		time.sleep(300)' &
	holder=$!
	wait_for 30 test -S d/bound
	for s in held bound; do
		refused 125 "--socket d/$s: another process listens on it" - \
			serve --share src:t --socket d/$s
	done
	kill $holder
	wait $holder || true
	serve
	kill -TERM $server
	stops $server 0
}

@test "two that find the same left-over: one has it" {
	stale
	# Both wait for the directory; the first one's socket is not the left-over.
	exec 7<d
	flock 7
	serve_early() {
		"$VMSHARE" serve --share src:t --socket d/s >"$1.out" \
			2>"$1.err" </dev/null 7<&- &
	}
	serve_early a
	a=$!
	serve_early b
	b=$!
	sleep 0.2
	flock -u 7
	exec 7<&-
	wait_for 30 eval 'grep -q "another process listens" a.err b.err'
	if grep -q another a.err; then one=$b other=$a; else one=$a other=$b; fi
	stops $other 125
	wait_for 30 listening $one
	client
	kill -TERM $one
	stops $one 0
	[ -z "$(ls d)" ]
}

@test "at its end it removes its own socket and pidfile, not a successor's" {
	local signal first guard
	for signal in TERM KILL; do
		serve --pidfile pid
		first=$server
		guard=$(pgrep -P $first vmshare-guard)
		rm d/s pid
		serve --pidfile pid
		kill -$signal $first
		wait $first || true
		wait_for 30 eval '! marked | grep -qx '"$guard"
		[ -S d/s ]
		[ "$(cat pid)" = $server ]
		kill -TERM $server
		stops $server 0
		[ -z "$(ls d)" ]
		[ ! -e pid ]
		nothing_left
	done
}

@test "a socket that can't be made leaves nothing" {
	[ "$(id -u)" = 0 ] || skip "needs root for a group"
	refused 125 "--socket d/s: no such directory or group 'nobody-has-it'" - \
		serve --share src:t --socket d/s --socket-group nobody-has-it
	[ -z "$(ls d)" ]
	nothing_left
}
