// SPDX-License-Identifier: MPL-2.0

// Package nearest finds the name that a mistyped one was probably meant to be, for messages that refuse bad input.
package nearest

import (
	"strings"
)

// longest bounds the words that are compared, so that a hostile name costs nothing.
const longest = 64

// Nearest returns the candidate with the smallest edit distance to name, ignoring case. It reports false when nothing is
// near enough to be worth suggesting: more than a third of the letters would have to change.
func Nearest(name string, among []string) (string, bool) {
	if len(name) > longest {
		return "", false
	}
	best, bestDistance := "", 1+max(1, len(name)/3)
	for _, candidate := range among {
		if len(candidate) > longest || candidate == name {
			continue
		}
		d := distance(strings.ToLower(name), strings.ToLower(candidate))
		if d < bestDistance {
			best, bestDistance = candidate, d
		}
	}
	return best, best != ""
}

// Hint returns `did you mean "X"?`, or an empty string when no candidate is near.
func Hint(name string, among []string) string {
	if candidate, ok := Nearest(name, among); ok {
		return `did you mean "` + candidate + `"?`
	}
	return ""
}

// distance counts insertions, deletions, substitutions and swaps of neighbours between two short strings.
func distance(a, b string) int {
	before := make([]int, len(b)+1)
	last := make([]int, len(b)+1)
	row := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
