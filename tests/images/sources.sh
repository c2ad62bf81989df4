# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Package sources of any release of Debian, from the machine's own: no mirror
# is named here.

# own_release: this machine's, nothing where it is no Debian
own_release() {
	# shellcheck disable=SC1091
	(. /etc/os-release 2>/dev/null && [ "$ID" = debian ] &&
		echo "${VERSION_CODENAME:-}") || true
}

# release_sources DIRECTORY RELEASE [SUITE...]: the machine's Debian sources, as
# files in DIRECTORY; for another release than its own, of that and the other
# suites named. Fails where there are none.
release_sources() {
	local dir=$1 own f
	shift
	own=$(own_release)
	[ "$own" ] || return
	mkdir -p "$dir"
	for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
		[ ! -s "$f" ] || awk -v own="$own" -v wanted="$*" '
			$1 == "deb" && wanted == own && index($0, " " own)
			$1 == "deb" && wanted != own {
				n = split(wanted, suite, " ")
				for (i = 1; i <= n; i++) {
					line = $0
					if (sub(" " own " ", " " suite[i] " ", line))
						print line
				}
			}' "$f" >"$dir/$(basename "$f")"
	done
	for f in /etc/apt/sources.list.d/*.sources; do
		[ ! -s "$f" ] || awk -v own="$own" -v wanted="$*" '
			BEGIN { RS = ""; ORS = "\n\n" }
			wanted == own && $0 ~ "(^|\n)Suites:[^\n]* " own
			wanted != own &&
			$0 ~ "(^|\n)Suites:[^\n]* " own "( |\n|$)" {
				sub("Suites:[^\n]*", "Suites: " wanted)
				print
			}' "$f" >"$dir/$(basename "$f")"
	done
	find "$dir" -type f -empty -delete
	[ "$(ls "$dir")" ]
}
