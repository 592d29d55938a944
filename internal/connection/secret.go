// SPDX-License-Identifier: MPL-2.0

package connection

import (
	"fmt"
	"io"
	"log/slog"
)

const hidden = "***"

// Secret is a password or passphrase that no formatting, encoding or logging shows.
type Secret struct{ text string }

// NewSecret hides a text.
func NewSecret(text string) Secret { return Secret{text: text} }

// Reveal returns the text, for the one place that needs it.
func (s Secret) Reveal() string { return s.text }

// Empty tells whether no secret was given.
func (s Secret) Empty() bool { return s.text == "" }

// String returns three asterisks.
func (Secret) String() string { return hidden }

// Format writes three asterisks for every verb.
func (Secret) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, hidden) }

// MarshalJSON encodes three asterisks.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + hidden + `"`), nil }

// MarshalText encodes three asterisks.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// LogValue logs three asterisks.
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }
