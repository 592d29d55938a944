// SPDX-License-Identifier: MPL-2.0

package inventory

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"drover/internal/expression"
	"drover/internal/nearest"
)

// List returns the whole inventory in the shape of `ansible-inventory --list`: a key per group with hosts and children, and
// the merged variables of every host under _meta.hostvars.
func (inv *Inventory) List() *expression.Map {
	variables := expression.NewMap()
	for _, host := range inv.Hosts() {
		if vars := inv.Vars(host); vars.Len() > 0 {
			variables.Set(host.Name, sorted(vars))
		}
	}
	inv.mu.RLock()
	defer inv.mu.RUnlock()
	list := expression.MapOf("_meta", expression.MapOf("hostvars", variables))
	for _, group := range inv.groups {
		entry := expression.NewMap()
		if children := group.childNames(); len(children) > 0 {
			entry.Set("children", children)
		}
		if len(group.hosts) > 0 && group.Name != groupAll {
			entry.Set("hosts", hostNames(group.hosts))
		}
		if entry.Len() > 0 {
			list.Set(group.Name, entry)
		}
	}
	return sorted(list)
}

// Graph draws a group and what is below it, as `ansible-inventory --graph` does. An unknown group is an error.
func (inv *Inventory) Graph(name string) (string, error) {
	inv.mu.RLock()
	defer inv.mu.RUnlock()
	group, ok := inv.named[name]
	if !ok {
		var known []string
		for _, group := range inv.groups {
			known = append(known, group.Name)
		}
		message := fmt.Sprintf("no group is called %q", name)
		if hint := nearest.Hint(name, known); hint != "" {
			message += "; " + hint
		}
		return "", errors.New(message)
	}
	var b strings.Builder
	group.draw(&b, 0)
	return b.String(), nil
}

func (g *Group) draw(b *strings.Builder, level int) {
	branch := func(level int, text string) {
		if level > 0 {
			b.WriteString(strings.Repeat("  |", level) + "--")
		}
		b.WriteString(text + "\n")
	}
	branch(level, "@"+g.Name+":")
	for _, child := range g.children {
		child.draw(b, level+1)
	}
	if g.Name == groupAll {
		return
	}
	for _, host := range g.hosts {
		branch(level+1, host.Name)
	}
}

func (g *Group) childNames() []any {
	names := make([]any, len(g.children))
	for i, child := range g.children {
		names[i] = child.Name
	}
	return names
}

func sorted(m *expression.Map) *expression.Map {
	result := expression.NewMap()
	for _, key := range slices.Sorted(slices.Values(m.Keys())) {
		value, _ := m.Get(key)
		result.Set(key, value)
	}
	return result
}
