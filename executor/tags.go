// SPDX-License-Identifier: MPL-2.0

package executor

import "slices"

// chosen tells whether a task with these tags (own and inherited) runs, by Ansible's rules: `always` runs unless it is
// skipped by name, `never` only when one of the task's tags is asked for by name.
func chosen(tags, only, skip []string) bool {
	if len(only) == 0 {
		only = []string{"all"}
	}
	asked := func(words []string, word string) bool { return slices.Contains(words, word) }
	shares := func(words []string) bool {
		return slices.ContainsFunc(tags, func(tag string) bool { return asked(words, tag) }) ||
			len(tags) == 0 && asked(words, "untagged")
	}
	always, never := asked(tags, "always"), asked(tags, "never")
	runs := always || shares(only) ||
		asked(only, "all") && !never ||
		asked(only, "tagged") && len(tags) > 0 && !never
	if !runs {
		return false
	}
	switch {
	case shares(skip), asked(skip, "tagged") && len(tags) > 0:
		return false
	case asked(skip, "all"):
		return always && !asked(skip, "always")
	}
	return true
}
