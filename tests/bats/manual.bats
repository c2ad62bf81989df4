#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# The manual page holds what the program does: every option and key of --help,
# every exit status, and no message in DIAGNOSTICS that no test provokes.

load helper

setup() {
	cd "$BATS_TEST_TMPDIR" || return 1
	command -v mandoc >/dev/null || skip "mandoc is not installed"
	mandoc -T utf8 -O width=400 "$top/vmshare.1" | col -bx >page
}

@test "the page is clean mdoc" {
	[ -z "$(mandoc -T lint -W warning "$top/vmshare.1")" ] ||
		fail "$(mandoc -T lint -W warning "$top/vmshare.1")"
}

@test "every option that completion knows is in the page" {
	local opt missing=
	for opt in $(for c in run serve check libvirt-xml; do
		"$VMSHARE" "$c" --help 2>/dev/null; done |
		grep -oE -- '--[a-z][a-z-]+' | sort -u); do
		grep -qE -- "(^|[^a-z-])$opt([^a-z-]|$)" page || missing+=" $opt"
	done
	[ -z "$missing" ] || fail "not in vmshare.1:$missing"
}

@test "every key of the key table is in the page" {
	local key missing=
	for key in $(sed -n 's/^\t{ "\([a-z-]*\)", .*/\1/p' "$top/launch/options.c" | sort -u); do
		grep -qE -- "(^|[^a-z-]|--)$key([^a-z-]|$)" page || missing+=" $key"
	done
	[ -z "$missing" ] || fail "not in vmshare.1:$missing"
}

@test "every option in the page is one that the program has" {
	local opt unknown=
	for opt in $(sed -n '/^OPTIONS/,/^CONFIGURATION/p' page |
		grep -oE -- '^ +(-[a-zA-Z], )?--[a-z][a-z-]+' |
		grep -oE -- '--[a-z-]+' | sort -u); do
		grep -qE "\"${opt#--}\"" "$top/launch/options.c" || case $opt in
		--help|--version) ;;
		*) unknown+=" $opt" ;;
		esac
	done
	[ -z "$unknown" ] || fail "no such option:$unknown"
}

@test "every exit status is in the page" {
	local n
	for n in 122 123 124 125 126 127; do
		sed -n '/^EXIT STATUS/,/^[A-Z]/p' page | grep -qw $n || fail "no $n"
	done
}

@test "the sections are all there" {
	local s
	for s in NAME SYNOPSIS DESCRIPTION OPTIONS CONFIGURATION ENVIRONMENT \
		"EXIT STATUS" DIAGNOSTICS EXAMPLES SECURITY "SEE ALSO"; do
		grep -qx "$s" page || fail "no section $s"
	done
}

@test "every message of DIAGNOSTICS is provoked by a test" {
	local line text missing=
	# The longest run of words without a placeholder stands for the message.
	sed -n '/^\.Sh DIAGNOSTICS/,/^\.Sh/p' "$top/vmshare.1" |
		sed -n 's/^\.It //p' >messages
	[ -s messages ]
	while read -r line; do
		text=$(printf '%s\n' "$line" |
			sed "s/\\\\(aq/'/g; s/ \(Ns\|No\) / /g; s/ \([;:,]\)/\1/g
				s/\(^\| \)\(Ar\|Pa\|Fl\|Bq\|Ev\) [^ ]*/\n/g" |
			sed "s/^[';:, ]*//; s/[' ]*$//" |
			awk '{ if (length > length(best)) best = $0 }
				END { print best }')
		grep -rqF -- "$text" "$top/tests/bats" "$top/tests/c" ||
			missing+=$'\n'"$text ($line)"
	done <messages
	[ -z "$missing" ] || fail "no test provokes:$missing"
}
