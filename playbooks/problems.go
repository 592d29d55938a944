// SPDX-License-Identifier: MPL-2.0

package playbooks

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"drover/internal/expression"
)

// mostProblems bounds how many mistakes of one file are told at once.
const mostProblems = 20

// Problems are the mistakes found in one file, in the order in which they stand there.
type Problems struct {
	List []*expression.Error
	More int // how many more there are than List tells
}

// Error lists one mistake per line.
func (p *Problems) Error() string {
	lines := make([]string, 0, len(p.List)+1)
	for _, problem := range p.List {
		lines = append(lines, problem.Error())
	}
	if p.More > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", p.More))
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the mistakes one by one.
func (p *Problems) Unwrap() []error {
	list := make([]error, len(p.List))
	for i, problem := range p.List {
		list[i] = problem
	}
	return list
}

// Warning is something that is accepted and probably not what was meant.
type Warning struct {
	At      expression.Position
	Message string
}

// String returns "file:line:column: message".
func (w Warning) String() string { return w.At.String() + ": " + w.Message }

// findings collects what the parser has to say about one file.
type findings struct {
	problems []*expression.Error
	warnings []Warning
}

func (f *findings) refuse(at expression.Position, hint, format string, args ...any) {
	f.problems = append(f.problems, &expression.Error{Position: at, Message: fmt.Sprintf(format, args...), Hint: hint})
}

// refuseError takes over an error of another package: one that knows its position keeps it, others get at.
func (f *findings) refuseError(at expression.Position, err error) {
	var positioned *expression.Error
	if errors.As(err, &positioned) && positioned.Line > 0 {
		f.problems = append(f.problems, positioned)
		return
	}
	f.problems = append(f.problems, &expression.Error{Position: at, Message: err.Error(), Err: err})
}

func (f *findings) warn(at expression.Position, format string, args ...any) {
	f.warnings = append(f.warnings, Warning{at, fmt.Sprintf(format, args...)})
}

// err returns the problems sorted by position and bounded, nil when there are none.
func (f *findings) err() error {
	if len(f.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(f.problems, func(a, b *expression.Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	list := slices.CompactFunc(f.problems, func(a, b *expression.Error) bool {
		return a.Position == b.Position && a.Message == b.Message
	})
	more := max(0, len(list)-mostProblems)
	return &Problems{List: list[:len(list)-more], More: more}
}
