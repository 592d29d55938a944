// SPDX-License-Identifier: MPL-2.0

// Package secret keeps passwords and tokens out of everything that is printed, logged or encoded.
package secret

import (
	"fmt"
	"io"
	"log/slog"
)

// Hidden is what stands where a secret was.
const Hidden = "***"

// Text is a password, passphrase or token that no formatting, encoding or logging shows.
// It is held by a pointer, since fmt calls no methods on what a struct keeps unexported, and looks into it instead.
type Text struct{ text *string }

// New hides a text.
func New(text string) Text { return Text{&text} }

// Reveal returns the text, for the one place that needs it.
func (t Text) Reveal() string {
	if t.text == nil {
		return ""
	}
	return *t.text
}

// Empty tells whether no secret was given.
func (t Text) Empty() bool { return t.Reveal() == "" }

// String returns three asterisks.
func (Text) String() string { return Hidden }

// Format writes three asterisks for every verb.
func (Text) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, Hidden) }

// MarshalJSON encodes three asterisks.
func (Text) MarshalJSON() ([]byte, error) { return []byte(`"` + Hidden + `"`), nil }

// MarshalText encodes three asterisks.
func (Text) MarshalText() ([]byte, error) { return []byte(Hidden), nil }

// LogValue logs three asterisks.
func (Text) LogValue() slog.Value { return slog.StringValue(Hidden) }
