// SPDX-License-Identifier: MPL-2.0

package printable_test

import (
	"testing"

	"drover/internal/printable"
)

func TestPrintable(t *testing.T) {
	for _, test := range []struct{ name, text, wantText, wantLine string }{
		{"nothing to do", "a é 語", "a é 語", "a é 語"},
		{"line breaks and tabs", " a\n\tb\r\n", " a\n\tb\n", "a b"},
		{"escape sequences", "a\x1b[31mb\u009bc\a", "a[31mbc", "a [31mb c"},
		{"writing direction", "a\u202eb\u2066c\u200fd\u061ce", "abcde", "a b c d e"},
		{"not UTF-8", "a\xffb", "ab", "a?b"},
		{"what shows nothing", "a\u200bb\U000e0041c", "abc", "a b c"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := printable.Text(test.text); got != test.wantText {
				t.Errorf("text %q, want %q", got, test.wantText)
			}
			if got := printable.Line(test.text); got != test.wantLine {
				t.Errorf("line %q, want %q", got, test.wantLine)
			}
		})
	}
}
