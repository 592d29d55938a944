// SPDX-License-Identifier: MPL-2.0

package modules

import "context"

func failModule() Module {
	return Module{
		Name:  "fail",
		Short: "Fail with a message",
		Doc:   "Fails the task, usually under a when that says what must not be.",
		Args: []Arg{
			{Name: "msg", Kind: String, Default: "failed as requested by the task", Doc: "Why."},
		},
		Check: CheckReads,
		Local: true,
		Example: `- fail:
    msg: The servers do not agree on a leader.
  when: leaders | unique | length > 1`,
		Run: func(_ context.Context, call *Call) (*Result, error) {
			return &Result{Failed: true, Message: call.Args.String("msg")}, nil
		},
	}
}
