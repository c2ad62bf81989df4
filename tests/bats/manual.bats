#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
#
# The manual pages hold what the program does: vmshare.1 every option and key of
# --help and every exit status; vmshare-messages.7 every message, and none that no
# test provokes.

load helper

setup() {
	cd "$BATS_TEST_TMPDIR" || return 1
	command -v mandoc >/dev/null || skip "mandoc is not installed"
	mandoc -T utf8 -O width=400 "$top/vmshare.1" | col -bx >page
	mandoc -T utf8 -O width=400 "$top/vmshare-messages.7" | col -bx >messages.page
}

@test "the pages are clean mdoc" {
	local page said
	for page in vmshare.1 vmshare-messages.7; do
		said=$(mandoc -T lint -W warning "$top/$page") ||
			fail "$page: $said"
		[ -z "$said" ] || fail "$page: $said"
	done
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
	for key in $(sed -n 's/^\t{ "\([a-z-]*\)", .*/\1/p' "$top/launch/config/options.c" | sort -u); do
		grep -qE -- "(^|[^a-z-]|--)$key([^a-z-]|$)" page || missing+=" $key"
	done
	[ -z "$missing" ] || fail "not in vmshare.1:$missing"
}

@test "every option in the page is one that the program has" {
	local opt unknown=
	for opt in $(sed -n '/^OPTIONS/,/^CONFIGURATION/p' page |
		grep -oE -- '^ +(-[a-zA-Z], )?--[a-z][a-z-]+' |
		grep -oE -- '--[a-z-]+' | sort -u); do
		grep -qE "\"${opt#--}\"" "$top/launch/config/options.c" || case $opt in
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
	for s in NAME DESCRIPTION DIAGNOSTICS "SEE ALSO"; do
		grep -qx "$s" messages.page || fail "no section $s of messages"
	done
}

@test "every message of DIAGNOSTICS is provoked by a test" {
	local line text missing=
	# The longest run of words without a placeholder stands for the message.
	sed -n '/^\.Sh DIAGNOSTICS/,/^\.Sh/p' "$top/vmshare-messages.7" |
		sed -n 's/^\.It //p' >messages
	[ -s messages ]
	# In C a text goes on in the next line.
	cat "$top"/tests/bats/*.bats "$top"/tests/c/*.c |
		sed -z 's/"[[:space:]]*\n[[:space:]]*"//g' >tests
	while read -r line; do
		text=$(printf '%s\n' "$line" |
			sed "s/\\\\(aq/'/g; s/ \(Ns\|No\) / /g; s/ \([;:,]\)\( \|$\)/\1\2/g
				s/\(^\| \)B[oc]\([: ]\|$\)/\n/g
				s/\(^\| \)\(Ar\|Pa\|Fl\|Bq\|Ev\|Cm\) [^ ]*/\n/g" |
			sed "s/^[';:, ]*//; s/[' ]*$//" |
			awk '{ if (length > length(best)) best = $0 }
				END { print best }')
		grep -qF -- "$text" tests || missing+=$'\n'"$text ($line)"
	done <messages
	[ -z "$missing" ] || fail "no test provokes:$missing"
}

@test "every message of the program is in the page of messages" {
	command -v python3 >/dev/null || skip "python3 is not installed"
	mandoc -T ascii -O width=900 "$top/vmshare-messages.7" | col -bx >ascii
	python3 - "$top" >missing 3<ascii <<-'END'
		import glob, os, re, sys
		page = re.sub(r"\s+", " ", os.fdopen(3).read())
		# Who prints, and which of its arguments is the text.
		prints = {"log_error": 0, "log_warning": 0, "log_note": 0, "cfg_fail": 1,
		          "guest_fail": 2, "findings_add": 3, "add": 3}
		# One line of the page has all that a host refuses; a guest's init has
		# "the guest failed"; letter.c's are read by vmshare itself.
		known = r"can't |kernel: path |cannot |poll$|accept$|memfd_create$|socketpair$|out of memory$"
		def arguments(text):
		    parts, depth, at = [""], 0, 0
		    while True:
		        if text[at] == '"':
		            end = re.compile(r'"(?:[^"\\]|\\.)*"').match(text, at).end()
		            parts[-1] += text[at:end]
		            at = end
		            continue
		        depth += (text[at] in "([{") - (text[at] in ")]}")
		        if depth < 0:
		            return parts
		        if text[at] == "," and not depth:
		            parts.append("")
		        else:
		            parts[-1] += text[at]
		        at += 1
		for name in sorted(glob.glob(sys.argv[1] + "/*/**/*.c", recursive=True) + [sys.argv[1] + f for f in ("/vmshare.c", "/server.c")]):
		    room, file = os.path.relpath(name, sys.argv[1]).split("/")[0], os.path.basename(name)
		    if room in ("base", "tests", "build") or file == "handover.c" or file.startswith("init"):
		        continue
		    source = open(name).read()
		    for call in re.finditer(r"\b(" + "|".join(prints) + r")\(", source):
		        args = arguments(source[call.end():])
		        if prints[call[1]] >= len(args):
		            continue
		        text = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', args[prints[call[1]]]))
		        text = max(re.split(r'%[-+ #0-9.*]*(?:ll|l|z|h)?[a-zA-Z]|%$|% ', text),
		                   key=len).strip(" ':;,()[]-")
		        if len(text) > 5 and text not in page and not re.match(known, text):
		            print("%s/%s: %s" % (room, file, text))
	END
	[ ! -s missing ] || fail "not in vmshare-messages.7:"$'\n'"$(cat missing)"
}
