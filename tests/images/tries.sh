# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Downloads fail at times, and what is made of them takes many tests along.

# tries COMMAND...: once more after a pause, and again after a longer one
tries() {
	local pause
	for pause in 5 30; do
		"$@" && return
		sleep "$pause"
	done
	"$@"
}
