// SPDX-License-Identifier: MPL-2.0

package playbooks

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestSplitWords(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string
	}{
		{"pairs", "a=1  b=2\n\tc=3", []string{"a=1", "b=2", "c=3"}},
		{"quotes", `a="x y" b='"'`, []string{`a="x y"`, `b='"'`}},
		{"templates", `a={{ x if y else 'z' }}-1 b={{ "}" }}`, []string{`a={{ x if y else 'z' }}-1`, `b={{ "}" }}`}},
		{"nothing", " \n", nil},
		{"open quote", `a="b`, nil},
		{"open braces", `a={{ b`, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			words, err := splitWords(test.text)
			var got []string
			for _, w := range words {
				got = append(got, w.text)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if open := strings.HasPrefix(test.name, "open"); open != (err != nil) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// TestSplitWordsLosesNothing holds that every word stands where it says, and that only spaces are between them.
func TestSplitWordsLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOf(rapid.RuneFrom([]rune(`ab={} "'`+"\n"))).Draw(t, "text")
		words, err := splitWords(text)
		if err != nil {
			return
		}
		end := 0
		for _, w := range words {
			if strings.TrimSpace(text[end:w.start]) != "" || text[w.start:w.start+len(w.text)] != w.text {
				t.Fatalf("word %q at %d of %q", w.text, w.start, text)
			}
			end = w.start + len(w.text)
		}
		if strings.TrimSpace(text[end:]) != "" {
			t.Fatalf("%q is left of %q", text[end:], text)
		}
	})
}
