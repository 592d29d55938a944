// SPDX-License-Identifier: MPL-2.0

package inventory

import (
	"drover/internal/expression"
	"drover/internal/nearest"
	"drover/internal/yaml"
)

// parse reads a YAML file's only document; nil for an empty file.
func (l *loader) parse(file string, data []byte) (*yaml.Node, error) {
	documents, warnings, err := yaml.Parse(file, data)
	for _, w := range warnings {
		l.warn(w.Position, w.Message)
	}
	switch {
	case err != nil:
		return nil, err
	case len(documents) > 1:
		return nil, problem(documents[1].Position, "make it a file of its own", "only one YAML document is read from a file")
	case len(documents) == 0 || documents[0].IsNull():
		return nil, nil
	}
	return documents[0], nil
}

// yaml reads a YAML inventory: groups at the top, each with hosts, children and vars.
func (l *loader) yaml(file string, data []byte) error {
	root, err := l.parse(file, data)
	if err != nil {
		return err
	}
	if root == nil {
		l.warn(expression.Position{File: file, Line: 1, Column: 1}, "the inventory file is empty")
		return nil
	}
	if root.Kind != yaml.Mapping {
		return problem(root.Position, "", "an inventory is a dictionary of groups, not %s", root.Describe())
	}
	if plugin, ok := root.Find("plugin"); ok && plugin.Value.Kind == yaml.Scalar {
		return problem(plugin.Key.Position, "save the output of `ansible-inventory --list --yaml` to a file and use that",
			"this configures an inventory plugin, and plugins are not supported")
	}
	for _, entry := range root.Pairs {
		if _, err := l.yamlGroup(entry, 0); err != nil {
			return err
		}
	}
	return nil
}

func (l *loader) yamlGroup(entry yaml.Pair, depth int) (*Group, error) {
	name, body := entry.Name(), entry.Value
	switch {
	case depth > maxDepth:
		return nil, problem(entry.Key.Position, "", "groups are nested deeper than %d levels", maxDepth)
	case name == "":
		return nil, problem(entry.Key.Position, "", "the group has no name")
	case !body.IsNull() && body.Kind != yaml.Mapping:
		return nil, problem(body.Position, "", "group %q is a dictionary of hosts, children and vars, not %s", name, body.Describe())
	}
	group := l.inventory.addGroup(name, entry.Key.Position)
	for _, section := range body.Pairs {
		members, err := sectionPairs(section, name)
		if err != nil {
			return nil, err
		}
		for _, member := range members {
			switch section.Name() {
			case "vars":
				err = l.setGroupVariable(group, member.Name(), member.Value.Decode(), member.Key.Position)
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
func sectionPairs(section yaml.Pair, group string) ([]yaml.Pair, error) {
	kinds := []string{"hosts", "children", "vars"}
	kind, body := section.Name(), section.Value
	switch {
	case kind != kinds[0] && kind != kinds[1] && kind != kinds[2]:
		return nil, problem(section.Key.Position, nearest.Hint(kind, kinds),
			"group %q has the unknown key %q; it can have hosts, children and vars", group, kind)
	case body.IsNull() || body.Kind == yaml.Mapping:
		return body.Pairs, nil
	case body.Kind == yaml.Scalar && kind != "vars":
		return []yaml.Pair{{Key: body, Value: &yaml.Node{Position: body.Position}}}, nil
	}
	return nil, problem(body.Position, "end each name with a colon instead of putting a dash before it",
		"%s of group %q is a dictionary, not %s", kind, group, body.Describe())
}

func (l *loader) yamlChild(group *Group, member yaml.Pair, depth int) error {
	child, err := l.yamlGroup(member, depth+1)
	if err != nil {
		return err
	}
	if !group.adopt(child) {
		return problem(member.Key.Position, "", "group %q cannot be a child of %q: it is the same group or above it", child.Name, group.Name)
	}
	return nil
}

func (l *loader) yamlHost(group *Group, member yaml.Pair) error {
	if _, isText := member.Key.Value.(string); !isText {
		return problem(member.Key.Position, "put the name in quotes", "the host's name is %s, not text", member.Key.Describe())
	}
	hosts, err := l.addHosts(member.Name(), group, member.Key.Position)
	if err != nil {
		return err
	}
	if !member.Value.IsNull() && member.Value.Kind != yaml.Mapping {
		return problem(member.Value.Position, "", "the variables of host %q are a dictionary, not %s", member.Name(), member.Value.Describe())
	}
	for _, variable := range member.Value.Pairs {
		for _, host := range hosts {
			l.setHostVariable(host, variable.Name(), variable.Value.Decode(), variable.Key.Position)
		}
	}
	return nil
}

// variables reads a file of group_vars or host_vars into vars.
func (l *loader) variables(file string, data []byte, vars *expression.Map) error {
	root, err := l.parse(file, data)
	if err != nil || root == nil {
		return err
	}
	if root.Kind != yaml.Mapping {
		return problem(root.Position, "", "a file of variables is a dictionary, not %s", root.Describe())
	}
	for _, variable := range root.Pairs {
		l.look(variable.Name(), variable.Key.Position)
		vars.Set(variable.Name(), variable.Value.Decode())
	}
	return nil
}
