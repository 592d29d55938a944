// SPDX-License-Identifier: MPL-2.0

package bounded

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	for _, test := range []struct {
		name        string
		size, limit int
		want        string // the end of the error
	}{
		{"empty", 0, 0, ""},
		{"as large as may be", 10, 10, ""},
		{"one byte more", 11, 10, " is larger than 10 bytes"},
		{"one byte more than whole KiB", 64<<10 + 1, 64 << 10, " is larger than 64 KiB"},
		{"one byte more than whole MiB", 1<<20 + 1, 1 << 20, " is larger than 1 MiB"},
		{"more than KiB and a half", 1600, 1536, " is larger than 1536 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(dir, test.name)
			content := strings.Repeat("x", test.size)
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := ReadFile(path, int64(test.limit))
			if test.want == "" {
				if err != nil || string(got) != content {
					t.Errorf("%d bytes, %v", len(got), err)
				}
				return
			}
			if err == nil || err.Error() != path+test.want || got != nil {
				t.Errorf("%d bytes, error %v, want %q", len(got), err, path+test.want)
			}
		})
	}
}

// A device has no size to look at beforehand, and no end.
func TestReadFileWithoutASize(t *testing.T) {
	if _, err := ReadFile("/dev/zero", 1<<20); err == nil || err.Error() != "/dev/zero is larger than 1 MiB" {
		t.Errorf("error %v", err)
	}
}

func TestReadFileThatIsNotThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none")
	if _, err := ReadFile(path, 10); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v, want that %s does not exist", err, path)
	}
	if _, err := ReadFile(filepath.Dir(path), 10); err == nil || !strings.Contains(err.Error(), filepath.Dir(path)) {
		t.Errorf("a directory: error %v, want its name", err)
	}
}
