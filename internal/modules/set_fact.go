// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"drover/internal/expression"
)

func setFactModule() Module {
	return Module{
		Name:  "set_fact",
		Short: "Set variables of the host for the rest of the run",
		Doc:   "Each argument becomes a variable of the host that the task is for.",
		Args: []Arg{
			{Name: "cacheable", Kind: Boolean, Default: false, Doc: "Accepted for Ansible's sake: nothing outlives the run."},
		},
		Open:    true,
		Check:   CheckReads,
		Local:   true,
		Returns: []Arg{{Name: "ansible_facts", Kind: Dict, Doc: "The variables that were set."}},
		Example: `- set_fact:
    was_leader: "{{ leader == inventory_hostname }}"`,
		Run: setFact,
	}
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func setFact(_ context.Context, call *Call) (*Result, error) {
	facts := expression.NewMap()
	for _, name := range call.Args.Names() {
		if name == "cacheable" {
			continue
		}
		if !variableName.MatchString(name) {
			return nil, fmt.Errorf("%q cannot be the name of a variable: use letters, digits and underscores", name)
		}
		facts.Set(name, call.Args.Any(name))
	}
	if facts.Len() == 0 {
		return nil, errors.New("no variable is given")
	}
	return &Result{Facts: facts, Data: expression.MapOf("ansible_facts", facts)}, nil
}
