#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# What takes too long for every day: the whole matrix of memory type, nodes,
# queues and kernel, of which matrix.bats has a part, and kill -9 at many more
# moments than in lifetime.bats.
#
# KILLS is the number of moments for each kind of run.

load helper

setup_file() {
	image disk
	image_new
}

setup() {
	may_run
	cd "$BATS_TEST_TMPDIR" || return 1
	mark
}

teardown() {
	local p
	for p in $(marked); do kill -9 "$p" 2>/dev/null || true; done
	give_huge
}

# each KERNEL ARG...: one and two nodes, one and four queues
each() {
	local kernel=$1 nodes queues numa
	shift
	for nodes in 1 2; do
		numa=()
		[ $nodes = 1 ] || numa=(--numa memory=256M --numa memory=256M)
		for queues in 1 4; do
			share_options=,queues=$queues guest_uses --cpus 4 \
				"${numa[@]}" "$@" ||
				fail "$nodes nodes, $queues queues"
			grep -qx "nodes $nodes" ctl/log
			grep -q "^$kernel\." ctl/log
			# Those of the other share are as many as processors.
			[ "$(grep -c 'requests\.' ctl/log)" = $((queues + 4)) ]
		done
	done
}
new() {
	[ -z "$SKIP_NEW" ] || skip "$SKIP_NEW"
	each 6.12 --qemu "$backports/qemu-system-x86_64" "$@" "$disk_6_12"
}

@test "memfd: nodes and queues, kernel 6.1" {
	each 6.1 "$disk"
}

@test "memfd: nodes and queues, kernel 6.12" {
	new
}

@test "huge pages: nodes and queues, kernel 6.1" {
	need_huge 256
	each 6.1 --memory-type hugepages=2M "$disk"
}

@test "huge pages: nodes and queues, kernel 6.12" {
	need_huge 256
	new --memory-type hugepages=2M
}

@test "a file: nodes and queues, kernel 6.1" {
	mkdir backing
	each 6.1 --memory-type "file=$PWD/backing" "$disk"
	[ -z "$(ls -A backing)" ]
}

@test "a file: nodes and queues, kernel 6.12" {
	mkdir backing
	new --memory-type "file=$PWD/backing"
	[ -z "$(ls -A backing)" ]
}

# kills SECONDS ARG...: kill -9 at $KILLS moments within the first SECONDS,
# more of them early, each with nothing left
kills() {
	local span=$1 n=${KILLS:-40} i delay parent
	shift
	job ctl <<<"sleep 300"
	for i in $(seq "$n"); do
		"$VMSHARE" run --accel "$accel" --share "$PWD/ctl:ctl" "$@" \
			>out 2>err </dev/null &
		parent=$!
		delay=$(awk -v i="$i" -v n="$n" -v s="$span" \
			'BEGIN { print s * (i / n) ^ 3 }')
		sleep "$delay"
		kill -9 $parent
		wait $parent || true
		nothing_left || fail "after $delay s"
	done
}

@test "kill -9: memory claimed before" {
	kills 6 "${guest_options[@]}" --prealloc "$disk"
}

@test "kill -9: huge pages" {
	need_huge 256
	kills 6 "${guest_options[@]}" --memory-type hugepages=2M "$disk"
}

@test "kill -9: a file" {
	mkdir backing
	kills 6 "${guest_options[@]}" --memory-type "file=$PWD/backing" "$disk"
	[ -z "$(ls -A backing)" ]
}

@test "kill -9: a pidfile, a guest without a disk" {
	kills 8 --pidfile "$TMPDIR/pid" -- sleep 300
}

# On a terminal, whose settings must be what they were.
@test "kill -9: on a terminal" {
	command -v script >/dev/null || skip "script is not installed"
	job ctl <<<"sleep 300"
	cat >in-terminal.sh <<-'END'
		: >same
		stty -g >before
		for i in $(seq $KILLS); do
			"$VMSHARE" run $options --share $ctl:ctl $disk </dev/tty &
			sleep $(awk -v i=$i -v n=$KILLS 'BEGIN { print 4 * (i / n) ^ 3 }')
			! stty -g | cmp -s before - || echo >>same
			kill -9 $!
			wait $!
			# The guardian is no child of ours.
			for try in $(seq 50); do
				stty -g >after
				! cmp -s before after || break
				sleep 0.1
			done
			cmp before after || { echo "moment $i" >bad; break; }
		done
	END
	export ctl=$PWD/ctl options="${guest_options[*]}" disk KILLS=${KILLS:-40}
	timeout $((900 * slow)) script -qefc "sh ./in-terminal.sh" typescript \
		>/dev/null </dev/null
	[ ! -e bad ] || fail "$(cat bad)"
	cmp before after
	[ "$(wc -l <same)" -lt "$KILLS" ] || fail "it was never changed"
	nothing_left
}
