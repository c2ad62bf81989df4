#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# What is asked for on stdout and nothing else there: help, version, QEMU's
# command, completions; and how flags and the configuration file meet.

load helper

setup() {
	cd "$BATS_TEST_TMPDIR" || return 1
	mkdir -p src other
	bootable disk.img
	standin_full qemu
	export VMSHARE_QEMU=$PWD/qemu
}

# dry ARG...: QEMU's words in the array `words`
dry() {
	v run --dry-run --accel tcg "$@"
	ended 0
	eval "words=($out)"
}
# has WORD...: these words in a row
has() {
	local i j
	for ((i = 0; i < ${#words[@]}; i++)); do
		for ((j = 1; j <= $#; j++)); do
			[[ ${words[i + j - 1]:-} == "${!j}" ]] || break
		done
		[ $j -le $# ] || return 0
	done
	fail "no '$*' in: $out"
}

@test "version" {
	v version
	ended 0
	silent_on err
	[[ $out =~ ^vmshare\ [0-9]+\.[0-9]+\.[0-9]+$ ]]
	[ "$out" = "vmshare $(sed -n 's/^VERSION *:= *//p' "$top/Makefile")" ]
	v --version
	[[ $out =~ ^vmshare\ [0-9] ]]
}

@test "-v and -q may stand before the command, too" {
	dry disk.img
	cp out plain
	v -v run --dry-run --accel tcg disk.img
	ended 0
	cmp out plain
	v --quiet run --dry-run --accel tcg disk.img
	ended 0
	silent_on err
	refused 125 "unknown command '-v'" "try 'vmshare help'" -v
}

@test "help: a screen for each command, an example first, on stdout" {
	local cmd
	v help
	ended 0
	silent_on err
	prints "vmshare run"
	for cmd in $(sed -n 's/^  \([a-z-]*\) .*/\1/p' out); do
		v "$cmd" --help
		ended 0
		silent_on err
		[ "$(wc -l <out)" -le 24 ] || fail "$cmd: more than a screen"
		[ "$(awk '{ print length }' out | sort -n | tail -n 1)" -le 80 ]
		[[ $out == "example: vmshare $cmd"* ]]
		cp out "long"
		v help "$cmd"
		cmp out long
	done
}

@test "dry run: nothing is touched, the words survive a shell" {
	local dir="$PWD/it's, a \"dir\" with \$ and : and ü"
	mkdir "$dir"
	mark
	dry --share "$dir:odd" --qemu-arg "a b" --qemu-arg "c'd" disk.img
	has "a b"
	has "c'd"
	nothing_left
	[ ! -e qemu.args ]
}

@test "dry run: memory, processors, disk, shares" {
	dry -m 768M -p 3 --share src --share other:tag2,queue-size=256 disk.img
	has -m 768M || has -m size=768M || has -m 768
	[[ $out == *tag=src* ]]
	[[ $out == *tag=tag2* ]]
	[[ $out == *queue-size=256* ]]
	[[ $out == *disk.img* ]]
	[[ $out == *share=on* ]]
	[[ $out == *format=raw* ]]
	[[ $out == *vhost-user-fs-pci* ]]
}

@test "dry run: a comma in a disk's name is doubled" {
	bootable 'a,b.img'
	dry 'a,b.img'
	[[ $out == *a,,b.img* ]]
}

@test "dry run: a qcow2 disk is told by its first bytes" {
	command -v qemu-img >/dev/null || skip "qemu-img is not installed"
	qemu-img convert -O qcow2 disk.img q.img
	# A boot sector's signature where the header has none.
	printf '\x55\xaa' | dd of=q.img bs=1 seek=510 conv=notrunc status=none
	dry q.img
	[[ $out == *qcow2* ]]
	dry --disk-format raw q.img
	[[ $out != *qcow2* ]]
}

@test "dry run: NUMA nodes, and QEMU before 5.0 by nodes alone" {
	dry -p 2 --numa memory=256M --numa memory=256M disk.img
	[[ $out == *-numa* ]]
	[[ $out == *nodeid=1* ]]
	standin_full qemu 4.2.1
	dry disk.img
	[[ $out != *memory-backend=* ]]
	[[ $out == *memdev=* ]]
	standin_full qemu 5.2.0
	dry disk.img
	[[ $out == *memory-backend=* ]]
}

@test "dry run: network and forwards, disks, console" {
	dry --forward tcp:2222:22 --forward udp:0.0.0.0:53:53 disk.img
	[[ $out == *hostfwd=tcp:127.0.0.1:2222-:22* ]]
	[[ $out == *hostfwd=udp:0.0.0.0:53-:53* ]]
	dry --ephemeral disk.img
	[[ $out == *snapshot=on* ]]
	dry --read-only disk.img
	[[ $out == *read-only=on* || $out == *readonly=on* ]]
}

@test "dry run: TCG before QEMU 10 is single-threaded" {
	dry disk.img
	[[ $out == *tcg,thread=single* ]]
	standin_full qemu 10.0.2
	dry disk.img
	[[ $out != *thread=single* ]]
}

@test "QEMU gets a sandbox and no path of a share" {
	mkdir secret-place
	dry --share "$PWD/secret-place:t" disk.img
	[[ $out == *-sandbox* ]]
	[[ $out != *secret-place* ]]
}

@test "configuration file: the same keys, paths relative to it, flags win" {
	mkdir -p conf/sub
	bootable conf/d.img
	cat >conf/ci.conf <<-END
		# a comment
		[vm]
		memory = 300M
		cpus = 2
		disk = d.img
		ephemeral = yes

		[share one]
		dir = sub
		queue-size = 64

		[qemu]
		arg = -name
		arg = with blanks and 'quotes'
	END
	dry -c conf/ci.conf
	[[ $out == *300M* || $out == *$((300 << 20))* ]]
	[[ $out == *conf/d.img* ]]
	[[ $out == *tag=one* ]]
	[[ $out == *queue-size=64* ]]
	has -name "with blanks and 'quotes'"
	dry -c conf/ci.conf -m 400M --share src:one,queue-size=128
	[[ $out != *300M* ]]
	[[ $out == *queue-size=128* ]]
	export VMSHARE_CONFIG=conf/ci.conf
	dry
	[[ $out == *tag=one* ]]
}

@test "check: all is well, in words and as JSON" {
	v check --accel tcg --share src disk.img
	ended 0
	v check --json --accel tcg --share src disk.img
	ended 0
	jq -e 'type == "object"' out
}

@test "completions: three shells, every option in each" {
	local shell opt
	v run --help
	for shell in bash zsh fish; do
		v completion "$shell"
		ended 0
		silent_on err
		for opt in share memory ephemeral qemu-arg timeout; do
			prints "$opt"
		done
	done
	v completion tcsh
	ended 125
	for shell in bash zsh fish; do
		"$VMSHARE" completion $shell >completion.$shell
		! command -v $shell >/dev/null || $shell -n completion.$shell
	done
}

@test "completions: bash completes commands, options and values" {
	[ -r /usr/share/bash-completion/bash_completion ] ||
		skip "bash-completion is not installed"
	"$VMSHARE" completion bash >comp
	try() { # LINE: what is offered for its last word
		bash --norc -c '
			. /usr/share/bash-completion/bash_completion
			. ./comp
			read -ra COMP_WORDS <<<"$1"
			[[ $1 != *" " ]] || COMP_WORDS+=("")
			COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMP_LINE=$1 COMP_POINT=${#1}
			fn=$(complete -p vmshare | sed -n "s/.*-F \([^ ]*\).*/\1/p")
			$fn vmshare "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
			printf "%s\n" "${COMPREPLY[@]}"' bash "$1"
	}
	try "vmshare ru" | grep -qx 'run *'
	try "vmshare run --mem" | grep -qx -- '--memory[= ]*'
	try "vmshare run --accel " | grep -qx 'kvm *'
	try "vmshare serve --sock" | grep -qx -- '--socket[= ]*'
	# The tags of what runs, and no files.
	"$VMSHARE" serve --share src:tag-$$ --socket s 2>/dev/null &
	wait_for 10 test -S s
	wait_for 10 eval 'try "$VMSHARE stat tag-$$" | grep -qx "tag-$$"'
	! try "$VMSHARE stat " | grep -qx disk.img || false
	kill $!
	wait $!
}
