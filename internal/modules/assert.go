// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"fmt"

	"drover/internal/expression"
)

func assertModule() Module {
	return Module{
		Name:  "assert",
		Short: "Fail unless conditions hold",
		Doc:   "Evaluates conditions, written as in when, in their order and fails at the first that is not true.",
		Args: []Arg{
			{Name: "that", Kind: Raw, Required: true, Doc: "A condition or a list of them."},
			{Name: "fail_msg", Kind: String, Aliases: []string{"msg"}, Default: "Assertion failed", Doc: "The message when one does not hold."},
			{Name: "success_msg", Kind: String, Default: "All assertions passed", Doc: "The message when all hold."},
			{Name: "quiet", Kind: Boolean, Default: false, Doc: "Leave the message of success out."},
		},
		Check: CheckReads,
		Local: true,
		Returns: []Arg{
			{Name: "assertion", Kind: String, Doc: "The condition that does not hold."},
			{Name: "evaluated_to", Kind: Boolean, Doc: "false, beside assertion."},
		},
		Example: `- assert:
    that:
      - groups['nomad_servers'] | length >= 3
      - nomad_version is version('1.7', '>=')
    fail_msg: This needs three servers of version 1.7 or later.`,
		Run: assert,
	}
}

func assert(ctx context.Context, call *Call) (*Result, error) {
	conditions, ok := call.Args.Any("that").([]any)
	if !ok {
		conditions = []any{call.Args.Any("that")}
	}
	for _, condition := range conditions {
		holds, err := evaluateCondition(ctx, call, condition)
		if err != nil {
			return nil, err
		}
		if !holds {
			return &Result{
				Failed: true, Message: call.Args.String("fail_msg"),
				Data: expression.MapOf("assertion", condition, "evaluated_to", false),
			}, nil
		}
	}
	if call.Args.Bool("quiet") {
		return &Result{}, nil
	}
	return &Result{Message: call.Args.String("success_msg")}, nil
}

func evaluateCondition(ctx context.Context, call *Call, condition any) (bool, error) {
	if holds, ok := condition.(bool); ok {
		return holds, nil
	}
	source, ok := condition.(string)
	if !ok {
		return false, fmt.Errorf("%v is not a condition", show(condition))
	}
	value, err := call.Evaluate(ctx, source)
	if err != nil {
		return false, fmt.Errorf("condition %q: %w", source, err)
	}
	holds, ok := value.(bool)
	if !ok {
		return false, fmt.Errorf("condition %q gives %s, and a condition must give true or false", source, show(value))
	}
	return holds, nil
}
