// SPDX-License-Identifier: MPL-2.0

package nearest

import "testing"

func TestNearest(t *testing.T) {
	names := []string{"length", "lower", "default", "register", "become", "serial"}
	for _, tt := range []struct {
		name, want string
		ok         bool
	}{
		{"lenght", "length", true},
		{"Defualt", "default", true},
		{"seriel", "serial", true},
		{"xyzzy", "", false},
		{"", "", false},
		{"registers", "register", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := Nearest(tt.name, names)
			if got != tt.want || ok != tt.ok {
				t.Errorf("Nearest(%q) = %q, %v; want %q, %v", tt.name, got, ok, tt.want, tt.ok)
			}
		})
	}
}

func TestHint(t *testing.T) {
	if got, want := Hint("lowr", []string{"upper", "lower"}), `did you mean "lower"?`; got != want {
		t.Errorf("Hint = %q, want %q", got, want)
	}
	if got := Hint("zzz", []string{"upper"}); got != "" {
		t.Errorf("Hint for a far name = %q, want none", got)
	}
}
