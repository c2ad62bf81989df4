# SPDX-License-Identifier: MIT
#
# What a reader would stumble over in a C file: lines beyond 80 columns (tabs
# of 8), trailing blanks, indentation by spaces, functions beyond a screen,
# files beyond 700 lines, a missing licence line or theory of operation.
#
#	awk -f style.awk FILE...

function complain(what) {
	printf "%s:%d: %s\n", FILENAME, FNR, what
}

function columns(s,    i, n, c) {
	n = 0
	for (i = 1; i <= length(s); i++) {
		c = substr(s, i, 1)
		n = c == "\t" ? n - n % 8 + 8 : n + 1
	}
	return n
}

function finish() {
	if (file == "")
		return
	if (lines > 700)
		printf "%s: %d lines; 700 are the limit\n", file, lines
	if (file ~ /\.c$/ && theory < 3)
		printf "%s: no theory of operation after the licence line\n", file
}

FNR == 1 {
	finish()
	file = FILENAME
	theory = 0
	past = 0
	in_function = 0
	licence = $0 ~ /^\/\* rooms: .* \*\/$/ ? 2 : 1
	n = split(FILENAME, part, "/")
	own = part[n]
	gsub(/\./, "\\.", own)
}

{ lines = FNR }

FNR == licence && $0 != "/* SPDX-License-Identifier: MIT */" {
	complain("not the licence line")
}

# The theory is the comment that comes before the first line of code.
FNR > licence && !past {
	if (/^( \*|\/\*)/)
		theory++
	else if (!/^$/ && !/^#(ifndef|define|include)/)
		past = 1
}

columns($0) > 80 { complain("beyond 80 columns") }
/[ \t]$/ { complain("trailing blanks") }
/^ +[^ *\\]/ { complain("indented by spaces") }
/^\t*        [^\\ ]/ { complain("indented by spaces") }
/(^|[^:"])\/\/ / { complain("comment of another style") }
/^typedef struct/ { complain("typedef of a struct") }
$0 ~ "(^|[^a-z_/.])" own "([^a-z]|$)" && FNR < 40 && /^( \*|\/\*)/ {
	complain("names its own file")
}

/^{$/ { in_function = FNR }
/^}/ {
	if (in_function && FNR - in_function > 61)
		complain("function of " FNR - in_function - 1 " lines")
	in_function = 0
}

END { finish() }
