// SPDX-License-Identifier: MPL-2.0

package secret

import "strings"

// Arguments is a command line with the values of those flags and settings hidden that are named like secrets: -token X,
// --db-password=X, NOMAD_TOKEN=X. What a script or a flag of one letter holds cannot be known.
func Arguments(argv []string) []string {
	shown := make([]string, len(argv))
	next := false
	for i, word := range argv {
		name, _, set := strings.Cut(word, "=")
		flag := strings.HasPrefix(word, "-")
		named := Named(strings.ReplaceAll(strings.TrimLeft(name, "-"), "-", "_")) && !strings.ContainsAny(name, " \t\n/")
		switch {
		case next && !flag:
			word = Hidden
		case set && named:
			word = name + "=" + Hidden
		}
		next = flag && named && !set
		shown[i] = word
	}
	return shown
}
