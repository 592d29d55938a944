// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"fmt"

	"drover/internal/expression"
)

func debugModule() Module {
	return Module{
		Name:  "debug",
		Short: "Show a message or a variable",
		Doc:   "Shows a text or the value of an expression. With a verbosity above 0 nothing is shown.",
		Args: []Arg{
			{Name: "msg", Kind: Any, Doc: "What to show: text, a number, a list or a dictionary."},
			{Name: "var", Kind: Raw, Doc: "An expression whose value is shown."},
			{Name: "verbosity", Kind: Integer, Default: 0, Doc: "Above 0: for readers of -v only, so it is skipped."},
		},
		Exclusive: [][]string{{"msg", "var"}},
		Check:     CheckReads,
		Local:     true,
		Returns:   []Arg{{Name: "msg", Kind: Any, Doc: "What was shown; with var, the value stands under the expression's text instead."}},
		Example: `- debug:
    var: result.stdout_lines`,
		Run: debug,
	}
}

func debug(ctx context.Context, call *Call) (*Result, error) {
	if call.Args.Int("verbosity") > 0 {
		return &Result{Skipped: true, Message: "only shown with a higher verbosity"}, nil
	}
	if call.Args.Has("var") {
		return debugVariable(ctx, call)
	}
	if !call.Args.Has("msg") {
		return &Result{Message: "Hello world!"}, nil
	}
	message := call.Args.Any("msg")
	if text, ok := message.(string); ok {
		return &Result{Message: text}, nil
	}
	return &Result{Data: expression.MapOf("msg", message)}, nil
}

func debugVariable(ctx context.Context, call *Call) (*Result, error) {
	source, ok := call.Args.Any("var").(string)
	if !ok {
		return nil, fmt.Errorf("var %s is not an expression", show(call.Args.Any("var")))
	}
	value, err := call.Evaluate(ctx, source)
	_, undefined := expression.IsUndefined(err)
	if _, isUndefined := value.(expression.Undefined); isUndefined || undefined {
		return &Result{Data: expression.MapOf(source, "VARIABLE IS NOT DEFINED!")}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("var %q: %w", source, err)
	}
	return &Result{Data: expression.MapOf(source, value)}, nil
}
