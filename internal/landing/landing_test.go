// SPDX-License-Identifier: MPL-2.0

package landing_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"drover/internal/landing"
)

func TestFile(t *testing.T) {
	broken := errors.New("broken")
	for _, test := range []struct {
		name, before, want string
		fill               error
	}{
		{"new", "", "new", nil},
		{"in place of another", "old content", "new", nil},
		{"nothing half written", "old content", "old content", broken},
		{"nothing left of a new one", "", "", broken},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "f")
			if test.before != "" {
				if err := os.WriteFile(path, []byte(test.before), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			size, err := landing.File(path, func(file *os.File) error {
				_, err := file.WriteString("new")
				return errors.Join(err, test.fill)
			})
			if !errors.Is(err, test.fill) || err == nil && size != 3 {
				t.Errorf("size %d, %v", size, err)
			}
			text, _ := os.ReadFile(path)
			if string(text) != test.want {
				t.Errorf("content %q, want %q", text, test.want)
			}
			entries, err := os.ReadDir(dir)
			if want := min(len(test.want), 1); err != nil || len(entries) != want {
				t.Errorf("%d files are left, want %d, %v", len(entries), want, err)
			}
			if info, err := os.Stat(path); err == nil && test.fill == nil && info.Mode() != 0o600 {
				t.Errorf("mode %s", info.Mode())
			}
		})
	}
}
