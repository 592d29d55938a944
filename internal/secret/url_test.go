// SPDX-License-Identifier: MPL-2.0

package secret

import (
	"slices"
	"testing"
)

func TestInURLs(t *testing.T) {
	for text, want := range map[string][]string{
		"":                                   nil,
		"https://mirror.example":             nil,
		"https://me@mirror.example/a:b@c":    nil,
		"https://me:hunter2@mirror.example/": {"hunter2"},
		"http://me:a%40b@h and ssh://you:other@h:22/x":     {"a%40b", "a@b", "other"},
		"postgres://:nobody@h":                             {"nobody"},
		"http://h:80/x me:you@h":                           nil,
		"http://me:{{ password }}@h and http://me:{{p}}@h": nil,
	} {
		if got := InURLs(text); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
