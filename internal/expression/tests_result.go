// SPDX-License-Identifier: MPL-2.0

package expression

import (
	"errors"
	"fmt"
)

// resultTests are those about what a task registered.
func resultTests() []entry {
	var table []entry
	for _, t := range []struct {
		names []string
		key   string
		want  bool
		doc   string
	}{
		{[]string{"changed", "change"}, "changed", true, "the registered task changed something"},
		{[]string{"failed", "failure"}, "failed", true, "the registered task failed"},
		{[]string{"succeeded", "success", "successful"}, "failed", false, "the registered task did not fail"},
		{[]string{"skipped", "skip"}, "skipped", true, "the registered task was skipped"},
		{[]string{"unreachable"}, "unreachable", true, "the host of the registered task could not be reached"},
		{[]string{"reachable"}, "unreachable", false, "the host of the registered task could be reached"},
	} {
		for _, name := range t.names {
			table = append(table, entry{name: name, doc: t.doc, run: registered(t.key, t.want)})
		}
	}
	return table
}

// registered makes a test of a field of a registered result; a field that is missing counts as false.
func registered(key string, want bool) func(*invocation, any) (any, error) {
	return func(c *invocation, value any) (any, error) {
		m, ok := value.(Mapping)
		if !ok {
			return nil, fmt.Errorf("%s needs what a task registered, not %s", c.entry.name, typeName(value))
		}
		field, ok, err := get(m, key)
		if err != nil {
			return nil, err
		}
		if !ok && key == "changed" {
			return anyResultChanged(m)
		}
		if !ok {
			return !want, nil
		}
		yes, err := truth(field)
		return yes == want, err
	}
}

// anyResultChanged answers for the result of a loop, which lists those of its rounds.
func anyResultChanged(m Mapping) (bool, error) {
	results, _, err := get(m, "results")
	if err != nil {
		return false, err
	}
	rounds, ok := results.([]any)
	if !ok {
		return false, nil
	}
	for _, round := range rounds {
		inner, ok := round.(Mapping)
		if !ok {
			return false, errors.New("changed: the results of a loop must be dictionaries")
		}
		field, _, err := get(inner, "changed")
		if err != nil {
			return false, err
		}
		if yes, err := truth(field); err != nil || yes {
			return yes, err
		}
	}
	return false, nil
}
