// SPDX-License-Identifier: MPL-2.0

package inventory

import (
	"drover/internal/expression"
	"drover/internal/nearest"
)

// yaml reads a YAML inventory: groups at the top, each with hosts, children and vars.
func (l *loader) yaml(file string, data []byte) error {
	root, err := decode(file, data)
	if err != nil {
		return err
	}
	if root == nil {
		l.warn(expression.Position{File: file, Line: 1, Column: 1}, "the inventory file is empty")
		return nil
	}
	if root.pairs == nil {
		return problem(root.at, "", "an inventory is a dictionary of groups, not %s", root.kind())
	}
	for _, pair := range root.pairs {
		if pair.key == "plugin" && pair.value.pairs == nil {
			return problem(pair.at, "save the output of `ansible-inventory --list --yaml` to a file and use that",
				"this configures an inventory plugin, and plugins are not supported")
		}
	}
	for _, pair := range root.pairs {
		if _, err := l.yamlGroup(pair, 0); err != nil {
			return err
		}
	}
	return nil
}

func (l *loader) yamlGroup(entry pair, depth int) (*Group, error) {
	if depth > maxDepth {
		return nil, problem(entry.at, "", "groups are nested deeper than %d levels", maxDepth)
	}
	if entry.key == "" {
		return nil, problem(entry.at, "", "the group has no name")
	}
	group := l.inventory.addGroup(entry.key, entry.at)
	if entry.value.empty() {
		return group, nil
	}
	if entry.value.pairs == nil {
		return nil, problem(entry.value.at, "", "group %q is a dictionary of hosts, children and vars, not %s", entry.key, entry.value.kind())
	}
	for _, section := range entry.value.pairs {
		members, err := sectionPairs(section, entry.key)
		if err != nil {
			return nil, err
		}
		for _, member := range members {
			switch section.key {
			case "vars":
				err = l.setGroupVariable(group, member.key, member.value.plain(), member.at)
			case "children":
				err = l.yamlChild(group, member, depth)
			default:
				err = l.yamlHost(group, member)
			}
			if err != nil {
				return nil, err
			}
		}
	}
	return group, nil
}

// sectionPairs returns the entries of hosts, children or vars; a lone name stands for a dictionary with that key.
func sectionPairs(section pair, group string) ([]pair, error) {
	kinds := []string{"hosts", "children", "vars"}
	if section.key != kinds[0] && section.key != kinds[1] && section.key != kinds[2] {
		return nil, problem(section.at, nearest.Hint(section.key, kinds), "group %q has the unknown key %q; it can have hosts, children and vars", group, section.key)
	}
	if section.value.empty() {
		return nil, nil
	}
	if name, ok := section.value.scalar.(string); ok && section.key != "vars" {
		return []pair{{key: name, at: section.value.at, value: &node{at: section.value.at}}}, nil
	}
	if section.value.pairs == nil {
		return nil, problem(section.value.at, "end each name with a colon instead of putting a dash before it",
			"%s of group %q is a dictionary, not %s", section.key, group, section.value.kind())
	}
	return section.value.pairs, nil
}

func (l *loader) yamlChild(group *Group, member pair, depth int) error {
	child, err := l.yamlGroup(member, depth+1)
	if err != nil {
		return err
	}
	if !group.adopt(child) {
		return problem(member.at, "", "group %q cannot be a child of %q: it is the same group or above it", child.Name, group.Name)
	}
	return nil
}

func (l *loader) yamlHost(group *Group, member pair) error {
	hosts, err := l.addHosts(member.key, group, member.at)
	if err != nil {
		return err
	}
	if member.value.empty() {
		return nil
	}
	if member.value.pairs == nil {
		return problem(member.value.at, "", "the variables of host %q are a dictionary, not %s", member.key, member.value.kind())
	}
	for _, variable := range member.value.pairs {
		for _, host := range hosts {
			l.setHostVariable(host, variable.key, variable.value.plain(), variable.at)
		}
	}
	return nil
}

// variables reads a file of group_vars or host_vars into vars.
func (l *loader) variables(file string, data []byte, vars *expression.Map) error {
	root, err := decode(file, data)
	if err != nil || root == nil || root.empty() {
		return err
	}
	if root.pairs == nil {
		return problem(root.at, "", "a file of variables is a dictionary, not %s", root.kind())
	}
	for _, variable := range root.pairs {
		value := variable.value.plain()
		l.look(variable.key, value, variable.at)
		vars.Set(variable.key, value)
	}
	return nil
}
