// SPDX-License-Identifier: MPL-2.0

package inventory

import (
	"fmt"

	"drover/internal/expression"
)

// Warning is something that was accepted and is probably not what was meant.
type Warning struct {
	At      expression.Position // zero where no file is concerned
	Message string
}

// String returns "file:line:column: message".
func (w Warning) String() string {
	if w.At.File == "" {
		return w.Message
	}
	return w.At.String() + ": " + w.Message
}

// NoHostsError says that a pattern, or a limit, leaves no host. It is never a success to do nothing.
type NoHostsError struct {
	Pattern string
	Hint    string
}

// Error names the pattern.
func (e *NoHostsError) Error() string {
	message := fmt.Sprintf("no host matches %q", e.Pattern)
	if e.Hint != "" {
		message += "; " + e.Hint
	}
	return message
}

// problem is an error about a place in a source; hint may be empty.
func problem(at expression.Position, hint, format string, args ...any) error {
	return &expression.Error{Position: at, Message: fmt.Sprintf(format, args...), Hint: hint}
}
