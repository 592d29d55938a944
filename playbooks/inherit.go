// SPDX-License-Identifier: MPL-2.0

package playbooks

import (
	"slices"
	"strings"

	"drover/internal/yaml"
)

// lineage is what a block or task gets from what is around it.
type lineage struct {
	Inherited
	notify []*Value
	depth  int
}

// child returns a copy whose lists can be appended to.
func (l lineage) child() lineage {
	l.Tags = slices.Clip(l.Tags)
	l.When = slices.Clip(l.When)
	l.TaskVars = slices.Clip(l.TaskVars)
	l.notify = slices.Clip(l.notify)
	return l
}

// inheritedKeyword reads a keyword that plays, blocks and tasks share into what is in force; false: it is none of those.
func (p *parser) inheritedKeyword(e entry, in *Inherited) bool {
	switch e.name {
	case "become":
		in.Become = p.boolean(e)
	case "become_user":
		in.BecomeUser = p.text(e)
	case "become_method":
		if e.value.Text != "sudo" && e.value.Text != "ansible.builtin.sudo" {
			p.refuse(e.value.Position, "drover uses sudo", "become_method %q is not in the language yet", e.value.Text)
		}
	case "remote_user":
		in.RemoteUser = p.text(e)
	case "environment":
		in.Environment = p.environment(e, in.Environment)
	case "tags":
		in.Tags = append(in.Tags, p.names(e, true)...)
	case "when":
		in.When = append(in.When, p.conditions(e.value, "when")...)
	case "ignore_errors":
		in.IgnoreErrors = p.boolean(e)
	case "ignore_unreachable":
		in.IgnoreUnreachable = p.boolean(e)
	case "no_log":
		in.NoLog = p.boolean(e)
	case "check_mode":
		in.CheckMode = p.boolean(e)
	case "diff":
		in.Diff = p.boolean(e)
	case "throttle":
		in.Throttle = p.integer(e, 0)
	case "timeout":
		in.Timeout = p.integer(e, 0)
	case "run_once":
		in.RunOnce = p.boolean(e)
	case "delegate_to":
		in.DelegateTo = p.text(e)
	default:
		return false
	}
	return true
}

// environment adds an inner dictionary to the outer one; a name in both has the inner value.
func (p *parser) environment(e entry, outer *Value) *Value {
	v := p.value(e.value)
	if v.Form == FormStatic || v.Form == FormList {
		p.refuse(v.At, "", "environment must be a dictionary, not %s", e.value.Describe())
		return outer
	}
	if outer == nil {
		return v
	}
	if v.Form != FormDict || outer.Form != FormDict {
		p.refuse(v.At, "write it as a dictionary", "an environment that is a template, inside of another environment, is not in the language yet")
		return outer
	}
	merged := &Value{At: v.At, Form: FormDict}
	for _, pair := range outer.Pairs {
		if !slices.ContainsFunc(v.Pairs, func(inner Pair) bool { return inner.Key == pair.Key }) {
			merged.Pairs = append(merged.Pairs, pair)
		}
	}
	merged.Pairs = append(merged.Pairs, v.Pairs...)
	return merged
}

// names reads a list of fixed names, or one of them; comma parts them where a text may hold several, as in tags.
func (p *parser) names(e entry, comma bool) []string {
	var names []string
	for _, item := range items(e.value) {
		v := p.value(item)
		if item.Kind != yaml.Scalar || item.IsNull() || v.Form != FormStatic {
			p.refuse(v.At, "", "%s must be names without templates", e.name)
			continue
		}
		parts := []string{item.Text}
		if comma {
			parts = strings.Split(item.Text, ",")
		}
		for _, name := range parts {
			if name = strings.TrimSpace(name); name != "" && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}
