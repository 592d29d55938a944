// SPDX-License-Identifier: MPL-2.0

package expression

import (
	"errors"
	"fmt"
)

// Position is a place in a file; Line and Column count from 1, columns in characters.
type Position struct {
	File         string
	Line, Column int
}

// String returns "file:line:column", without the file where it is not known.
func (p Position) String() string {
	if p.File == "" {
		return fmt.Sprintf("%d:%d", p.Line, p.Column)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Error is a mistake in an expression or in its evaluation, with the place it comes from.
type Error struct {
	Position
	Message string
	Hint    string // what to do about it, may be empty
	Err     error  // the cause, may be nil
}

// Error returns "file:line:column: message", followed by the hint where there is one.
func (e *Error) Error() string {
	text := e.Position.String() + ": " + e.Message
	if e.Hint != "" {
		text += "; " + e.Hint
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// UndefinedError says that a value was needed where there is none.
type UndefinedError struct{ Undefined Undefined }

// Error names the variable or the key that does not exist.
func (e *UndefinedError) Error() string { return e.Undefined.reason() }

// ErrBudget is the cause of errors about an evaluation that needs more steps or memory than it was given.
var ErrBudget = errors.New("the expression needs more than its budget")

// IsUndefined reports whether evaluation failed because of an undefined value, and returns that value. A scope that
// renders variables on lookup hands it back as the variable's value, so that `is defined` and `default` see it.
func IsUndefined(err error) (Undefined, bool) {
	var undefined *UndefinedError
	if errors.As(err, &undefined) {
		return undefined.Undefined, true
	}
	return Undefined{}, false
}
