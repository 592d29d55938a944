// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"fmt"
	"strings"

	"drover/internal/expression"
	"drover/internal/nomad"
)

// judged is the result of a module that only plans: the verdict, the plan under a name of its own, and the message for its verdict. Where
// anything stands in the way it comes with a refusal that names everything.
func judged(name string, plan interface{ Verdict() string }, problems []nomad.Problem, clean, changes string) (*Result, error) {
	result := &Result{Data: expression.MapOf("verdict", plan.Verdict(), name, expression.FromGo(plan))}
	switch plan.Verdict() {
	case nomad.VerdictRefused:
		return result, refuse("%d problems, and nothing was touched:%s", len(problems), underneath(problems))
	case nomad.VerdictClean:
		result.Message = clean
	default:
		result.Message = changes
	}
	return result, nil
}

// underneath lists problems below a line that says how many there are.
func underneath(problems []nomad.Problem) string {
	var b strings.Builder
	for _, problem := range problems {
		fmt.Fprintf(&b, "\n  %s", problem)
	}
	return b.String()
}
