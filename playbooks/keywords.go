// SPDX-License-Identifier: MPL-2.0

package playbooks

import "slices"

// place is where a keyword may stand: Ansible allows different ones on plays, blocks, tasks and handlers.
type place int

const (
	inPlay place = 1 << iota
	inBlock
	inTask
	inHandler

	anywhere = inPlay | inBlock | inTask | inHandler
	inSteps  = inTask | inHandler
)

func (c place) String() string {
	switch c {
	case inPlay:
		return "a play"
	case inBlock:
		return "a block"
	case inHandler:
		return "a handler"
	default:
		return "a task"
	}
}

// keyword is one word of the language and where it may stand.
type keyword struct {
	name  string
	where place
}

// keywords are the words that drover knows what to do with.
func keywords() []keyword {
	return []keyword{
		{"name", anywhere},
		{"become", anywhere},
		{"become_user", anywhere},
		{"become_method", anywhere},
		{"remote_user", anywhere},
		{"environment", anywhere},
		{"tags", anywhere},
		{"ignore_errors", anywhere},
		{"ignore_unreachable", anywhere},
		{"no_log", anywhere},
		{"check_mode", anywhere},
		{"diff", anywhere},
		{"throttle", anywhere},
		{"timeout", anywhere},
		{"run_once", anywhere},
		{"any_errors_fatal", inPlay},
		{"vars", anywhere},
		{"when", inBlock | inSteps},
		{"delegate_to", inBlock | inSteps},
		{"notify", inBlock | inSteps},

		{"hosts", inPlay},
		{"serial", inPlay},
		{"order", inPlay},
		{"strategy", inPlay},
		{"max_fail_percentage", inPlay},
		{"gather_facts", inPlay},
		{"force_handlers", inPlay},
		{"vars_files", inPlay},
		{"pre_tasks", inPlay},
		{"tasks", inPlay},
		{"post_tasks", inPlay},
		{"handlers", inPlay},

		{"block", inBlock},
		{"rescue", inBlock},
		{"always", inBlock},

		{"args", inSteps},
		{"action", inSteps},
		{"meta", inSteps},
		{"loop", inSteps},
		{"with_items", inSteps},
		{"loop_control", inSteps},
		{"register", inSteps},
		{"until", inSteps},
		{"retries", inSteps},
		{"delay", inSteps},
		{"changed_when", inSteps},
		{"failed_when", inSteps},
		{"listen", inHandler},
	}
}

// isKeyword reports whether the name is a keyword anywhere, and whether it may stand at the given place.
func isKeyword(name string, where place) (known, here bool) {
	for _, k := range keywords() {
		if k.name == name {
			return true, k.where&where != 0
		}
	}
	return false, false
}

// keywordNames lists the keywords that may stand at a place.
func keywordNames(where place) []string {
	var names []string
	for _, k := range keywords() {
		if k.where&where != 0 {
			names = append(names, k.name)
		}
	}
	return names
}

// metaActions are what `meta:` can do.
func metaActions() []string {
	return []string{"flush_handlers", "end_play", "end_host", "noop", "clear_host_errors"}
}

// Orders lists the values of a play's order; leader_last is drover's own.
func Orders() []string {
	return []string{"inventory", "reverse_inventory", "sorted", "reverse_sorted", "shuffle", "leader_last"}
}

// isIdentifier reports whether a name can be a variable: a letter or underscore, then letters, digits, underscores, and not a
// word of the expression language.
func isIdentifier(name string) bool {
	for i, r := range name {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	reserved := []string{
		"", "and", "or", "not", "in", "is", "if", "else", "true", "false", "none", "True", "False", "None",
	}
	return !slices.Contains(reserved, name)
}
