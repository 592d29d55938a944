// SPDX-License-Identifier: MPL-2.0

package release

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"

	"drover/internal/testrelease"
)

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFindPicksByVersionAndArchitecture(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "nomad_1.11.0_linux_arm64.zip"), testrelease.Zip(t, "nomad", testrelease.Program(t, "arm64", "")))
	write(t, filepath.Join(dir, "nomad-1.11.0"), testrelease.Program(t, "amd64", "1.11.0"))
	write(t, filepath.Join(dir, "nomad"), testrelease.Program(t, "amd64", "1.11.0"))
	for _, test := range []struct{ version, architecture, want string }{
		{"1.11.0", "arm64", "nomad_1.11.0_linux_arm64.zip"},
		{"1.11.0", "amd64", "nomad-1.11.0"},
		{"1.10.5", "amd64", "nomad"},
	} {
		got, err := Find(dir, test.version, test.architecture)
		if err != nil || filepath.Base(got) != test.want {
			t.Errorf("%s %s: %s, %v", test.version, test.architecture, got, err)
		}
	}
	if _, err := Find(dir, "1.10.5", "arm64"); err == nil || !strings.Contains(err.Error(), "is a program for amd64") {
		t.Errorf("a binary for amd64 was found for arm64: %v", err)
	}
	if _, err := Find(t.TempDir(), "1.11.0", "amd64"); err == nil || !strings.Contains(err.Error(), "nomad_1.11.0_linux_amd64.zip") {
		t.Errorf("error does not say what was looked for: %v", err)
	}
}

func TestPrepareIsDoneOnceForAllCallers(t *testing.T) {
	dir := t.TempDir()
	content := testrelease.Program(t, "amd64", "1.11.0")
	source := filepath.Join(dir, "nomad_1.11.0_linux_amd64.zip")
	write(t, source, testrelease.Zip(t, "nomad", content))
	cache := Cache{Directory: filepath.Join(dir, "cache")}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			got, err := cache.Prepare(t.Context(), Wanted{Version: "1.11.0", Architecture: "amd64", File: source})
			sum := sha256.Sum256(content)
			if err != nil || got.SHA256 != hex.EncodeToString(sum[:]) || got.Size != int64(len(content)) {
				t.Errorf("prepared %+v, %v", got, err)
			}
		})
	}
	group.Wait()
	got, err := cache.Prepare(t.Context(), Wanted{Version: "1.11.0", Architecture: "amd64", File: source})
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(got.Compressed)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	decoder, err := zstd.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	defer decoder.Close()
	if back, err := io.ReadAll(decoder); err != nil || !bytes.Equal(back, content) {
		t.Errorf("decompressed %d bytes, %v", len(back), err)
	}
	info, _ := os.Stat(got.Compressed)
	if _, err := cache.Prepare(t.Context(), Wanted{Version: "1.11.0", Architecture: "amd64", File: source}); err != nil {
		t.Fatal(err)
	}
	if again, _ := os.Stat(got.Compressed); !again.ModTime().Equal(info.ModTime()) {
		t.Error("compressed again")
	}
}

func TestPrepareNoticesAChangedFile(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "nomad")
	cache := Cache{Directory: filepath.Join(dir, "cache")}
	write(t, source, testrelease.Program(t, "amd64", "1.11.0"))
	first, err := cache.Prepare(t.Context(), Wanted{Version: "1.11.0", Architecture: "amd64", File: source})
	if err != nil {
		t.Fatal(err)
	}
	write(t, source, append(testrelease.Program(t, "amd64", "1.11.0"), 'x'))
	second, err := cache.Prepare(t.Context(), Wanted{Version: "1.11.0", Architecture: "amd64", File: source})
	if err != nil || second.SHA256 == first.SHA256 {
		t.Errorf("the change went unnoticed: %v", err)
	}
}

func TestPrepareRefuses(t *testing.T) {
	failing, err := os.ReadFile("/bin/false")
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		name    string
		content []byte
		sums    string
		want    string
	}{
		"other architecture":  {"nomad", testrelease.Program(t, "arm64", ""), "", "is a program for arm64, and the host is amd64"},
		"not a program":       {"nomad", []byte("#!/bin/sh"), "", "not a Linux program"},
		"damaged":             {"nomad", testrelease.Program(t, "amd64", "1.11.0"), strings.Repeat("0", 64) + "  nomad\n", "damaged"},
		"zip of another":      {"x.zip", nil, "", "no member nomad"},
		"truncated zip":       {"y.zip", []byte("PK\x03\x04"), "", "cut off or no zip"},
		"truncated program":   {"nomad", testrelease.Program(t, "amd64", "1.11.0")[:130], "", "is cut off: it has 130 bytes"},
		"half a header":       {"nomad", testrelease.Program(t, "amd64", "1.11.0")[:30], "", "only a part of one"},
		"another version":     {"nomad", testrelease.Program(t, "amd64", "1.10.5"), "", "the binary is Nomad 1.10.5 (it says so itself), and 1.11.0 is wanted"},
		"another edition":     {"nomad", testrelease.Program(t, "amd64", "1.11.0+ent"), "", "the binary is Nomad 1.11.0+ent"},
		"not Nomad":           {"nomad", testrelease.Speaking(t, "Consul v1.20.0\n"), "", `is not Nomad: asked for its version it says "Consul v1.20.0"`},
		"crashing":            {"nomad", testrelease.Crashing(t), "", "crashes when it is asked for its version"},
		"a failing program":   {"nomad", failing, "", "is not Nomad, or damaged: asked for its version it ends with code 1"},
		"a list that is none": {"nomad", testrelease.Program(t, "amd64", "1.11.0"), "<html>\n", "line 1 is not a SHA-256 and a file name"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if test.content == nil {
				test.content = testrelease.Zip(t, "consul", testrelease.Program(t, "amd64", "1.11.0"))
			}
			write(t, filepath.Join(dir, test.name), test.content)
			if test.sums != "" {
				write(t, filepath.Join(dir, "nomad_SHA256SUMS"), []byte(test.sums))
			}
			_, err := Cache{Directory: filepath.Join(dir, "cache")}.Prepare(t.Context(), Wanted{Version: "1.11.0", Architecture: "amd64", File: filepath.Join(dir, test.name)})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

// A program that does not run here for a reason of this machine may run on the hosts, which look at its version themselves.
func TestAProgramThatDoesNotRunHereIsLeftToTheHosts(t *testing.T) {
	failing, err := os.ReadFile("/bin/false")
	if err != nil {
		t.Fatal(err)
	}
	// Its loader is not on this machine.
	failing = bytes.Replace(failing, []byte("/ld-linux"), []byte("/ld-nolib"), 1)
	dir := t.TempDir()
	var said []string
	cache := Cache{Directory: filepath.Join(dir, "cache"), Say: func(text string) { said = append(said, text) }}
	source := filepath.Join(dir, "nomad")
	write(t, source, failing)
	for range 2 {
		if _, err := cache.Prepare(t.Context(), Wanted{Version: "1.11.0", Architecture: runtime.GOARCH, File: source}); err != nil {
			t.Fatal(err)
		}
	}
	told := slices.DeleteFunc(said, func(text string) bool {
		return !strings.Contains(text, "its version is checked on each host before anything is stopped")
	})
	if len(told) != 1 {
		t.Errorf("said %q", said)
	}
}

func TestWhatIsWrongInAZipIsToldOfTheZip(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "nomad_1.11.0_linux_amd64.zip")
	write(t, source, testrelease.Zip(t, "nomad", []byte("404 not found\n")))
	_, err := Cache{Directory: filepath.Join(dir, "cache")}.Prepare(t.Context(), Wanted{Version: "1.11.0", Architecture: "amd64", File: source})
	if err == nil || !strings.Contains(err.Error(), "nomad in "+source+" is not a Linux program") {
		t.Errorf("got %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "cache", "*.unzipped")); len(left) > 0 {
		t.Errorf("it is kept: %q", left)
	}
	_, err = Cache{Directory: filepath.Join(dir, "cache")}.Prepare(t.Context(), Wanted{Version: "1.11.0", Architecture: "amd64", File: "/dev/null"})
	if err == nil || !strings.Contains(err.Error(), "/dev/null is not a regular file") {
		t.Errorf("a device: %v", err)
	}
}
