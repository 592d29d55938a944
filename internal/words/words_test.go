// SPDX-License-Identifier: MPL-2.0

package words_test

import (
	"testing"

	"drover/internal/words"

	"github.com/google/go-cmp/cmp"
)

func TestSplit(t *testing.T) {
	for _, test := range []struct {
		line string
		want []words.Word
		err  string
	}{
		{line: "", want: nil},
		{line: "  a\tb ", want: []words.Word{{"a", 3}, {"b", 5}}},
		{line: `'é "' x`, want: []words.Word{{`é "`, 1}, {"x", 7}}},
		{line: `a"b c"'d'\ e f`, want: []words.Word{{"ab cd e", 1}, {"f", 14}}},
		{line: `"a\"b\\c\d" ''`, want: []words.Word{{`a"b\c\d`, 1}, {"", 13}}},
		{line: `'a\'`, want: []words.Word{{`a\`, 1}}},
		{line: "a #b", want: []words.Word{{"a", 1}, {"#b", 3}}},
		{line: `a "b`, err: "a quote is not closed"},
		{line: `a \`, err: "a backslash at the end of the line has nothing to keep"},
	} {
		t.Run(test.line, func(t *testing.T) {
			got, err := words.Split(test.line)
			if test.err != "" {
				if err == nil || err.Error() != test.err {
					t.Errorf("%v, want %q", err, test.err)
				}
				return
			}
			if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
				t.Error(diff, err)
			}
		})
	}
}

func TestSplitComment(t *testing.T) {
	for _, test := range []struct {
		line string
		want []words.Word
		cut  int
	}{
		{"a # b", []words.Word{{"a", 1}}, 0},
		{"a b#c", []words.Word{{"a", 1}, {"b", 3}}, 4},
		{`a "b # c"`, []words.Word{{"a", 1}, {"b # c", 3}}, 0},
		{"# a", nil, 0},
	} {
		t.Run(test.line, func(t *testing.T) {
			got, cut, err := words.SplitComment(test.line)
			if diff := cmp.Diff(test.want, got); diff != "" || err != nil || cut != test.cut {
				t.Errorf("%s cut %d, want %d, %v", diff, cut, test.cut, err)
			}
		})
	}
}
