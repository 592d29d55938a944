// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"drover/internal/wire"
)

func writeRequest(path, content string) wire.Write {
	sum := sha256.Sum256([]byte(content))
	return wire.Write{Path: path, Size: int64(len(content)), SHA256: hex.EncodeToString(sum[:])}
}

// names lists a directory, so that a temporary file left behind shows.
func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, entry := range entries {
		all = append(all, entry.Name())
	}
	return strings.Join(all, " ")
}

// A file is not replaced by who has read other content than it has now.
func TestWriteReplaces(t *testing.T) {
	c := inProcess(t, Options{})
	dir := t.TempDir()
	path := filepath.Join(dir, "nomad.hcl")
	for name, before := range map[string]string{"other content": "two", "it is gone": ""} {
		os.Remove(path)
		if before != "" {
			if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		request := writeRequest(path, "three")
		request.Replaces = writeRequest(path, "one").SHA256
		request.Backup = true
		if _, err := try[wire.WriteResult](c, request, []byte("three")); !wire.IsKind(err, wire.KindStale) {
			t.Errorf("%s: %v", name, err)
		}
		if got, _ := os.ReadFile(path); string(got) != before || strings.Contains(names(t, dir), "~") {
			t.Errorf("%s: %q, %s", name, got, names(t, dir))
		}
	}
	if err := os.WriteFile(path, []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	request := writeRequest(path, "three")
	request.Replaces = writeRequest(path, "one").SHA256
	if got := get[wire.WriteResult](t, c, request, []byte("three")); !got.Changed {
		t.Error("the content that was read: changed is false")
	}
}

func TestWrite(t *testing.T) {
	c := inProcess(t, Options{})
	dir := t.TempDir()
	path := filepath.Join(dir, "nomad.hcl")
	mode := uint32(0o640)

	request := writeRequest(path, "one")
	request.Mode = &mode
	if got := get[wire.WriteResult](t, c, request, []byte("one")); !got.Changed {
		t.Error("a new file: changed is false")
	}
	request.Encoding = "zstd"
	if got := get[wire.WriteResult](t, c, request, pack(t, []byte("one"))); got.Changed {
		t.Error("the same content: changed is true")
	}
	request = writeRequest(path, strings.Repeat("two", 200_000))
	request.Encoding, request.Backup = "zstd", true
	got := get[wire.WriteResult](t, c, request, pack(t, []byte(strings.Repeat("two", 200_000))))
	if before, err := os.ReadFile(got.Backup); err != nil || string(before) != "one" {
		t.Errorf("backup: %q, %v", before, err)
	}
	stat := get[wire.StatResult](t, c, wire.Stat{Path: path, Hash: true}, nil)
	if stat.Mode != 0o640 || stat.SHA256 != request.SHA256 || stat.Type != "file" {
		t.Errorf("stat: %+v", stat)
	}
	request = writeRequest(path, "three")
	request.NoClobber = true
	if got := get[wire.WriteResult](t, c, request, []byte("three")); got.Changed {
		t.Error("no_clobber replaced a file")
	}
}

func TestWriteKeepsExtendedAttributes(t *testing.T) {
	c := inProcess(t, Options{})
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("before"), 0o644); err != nil {
		t.Fatal(err)
	}
	name := "user.kept"
	if os.Geteuid() == 0 {
		name = "trusted.kept" // which every filesystem of a temporary directory has
	}
	if err := unix.Setxattr(path, name, []byte("yes"), 0); err != nil {
		absent(t, fmt.Errorf("set an extended attribute: %w", err))
	}
	get[wire.WriteResult](t, c, writeRequest(path, "after"), []byte("after"))
	value := make([]byte, 10)
	if n, err := unix.Getxattr(path, name, value); err != nil || string(value[:n]) != "yes" {
		t.Errorf("extended attribute %q, %v", value[:max(n, 0)], err)
	}
}

func TestWriteRefusesWrongContent(t *testing.T) {
	c := inProcess(t, Options{})
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := os.WriteFile(path, []byte("before"), 0o644); err != nil {
		t.Fatal(err)
	}
	good := writeRequest(path, "good")
	for name, test := range map[string]struct {
		body     string
		encoding string
	}{
		"other":      {"evil", ""},
		"too short":  {"goo", ""},
		"too long":   {"goodness", ""},
		"not zstd":   {"good", "zstd"},
		"zstd bomb":  {string(pack(t, make([]byte, 8<<20))), "zstd"},
		"unknown":    {"good", "lzma"},
		"empty body": {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			request := good
			request.Encoding = test.encoding
			if _, err := try[wire.WriteResult](c, request, []byte(test.body)); err == nil {
				t.Error("got no error")
			}
			if text, _ := os.ReadFile(path); string(text) != "before" || names(t, dir) != "f" {
				t.Errorf("left %q in %s", text, names(t, dir))
			}
		})
	}
}

func TestWriteOnFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		absent(t, fmt.Errorf("mount a small disk (needs root): %w", err))
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	path := filepath.Join(dir, "f")
	if err := os.WriteFile(path, []byte("before"), 0o644); err != nil {
		t.Fatal(err)
	}
	large := strings.Repeat("x", 2<<20)
	c := inProcess(t, Options{})
	_, err := try[wire.WriteResult](c, writeRequest(path, large), []byte(large))
	if !wire.IsKind(err, wire.KindNoSpace) || !strings.Contains(err.Error(), "1 MiB are missing") && !strings.Contains(err.Error(), "2 MiB are missing") {
		t.Errorf("checked before: got %v, want no_space and how much is missing", err)
	}
	// The disk fills up while the file is written: what the check before cannot see.
	_, err = landing{path: path, like: path, size: int64(len(large)), uid: -1, gid: -1}.land(t.Context(), strings.NewReader(large))
	if kind := classify(err).Kind; kind != wire.KindNoSpace {
		t.Errorf("filled while writing: kind %s of %v", kind, err)
	}
	if text, _ := os.ReadFile(path); string(text) != "before" || names(t, dir) != "f" {
		t.Errorf("left %q in %s", text, names(t, dir))
	}
}

func TestLandingRemovesDeadLeftovers(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	dead, alive := filepath.Join(dir, ".f.drover-1"), filepath.Join(dir, ".f.drover-2")
	for _, name := range []string{dead, alive} {
		if err := os.WriteFile(name, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	holder, err := os.Open(alive)
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	if err := unix.Flock(int(holder.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if _, err := (landing{path: path, like: path, size: 3, uid: -1, gid: -1}).land(t.Context(), strings.NewReader("all")); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); got != ".f.drover-2 f" {
		t.Errorf("left %q, want the temporary file in use and the file", got)
	}
}

func TestRead(t *testing.T) {
	c := inProcess(t, Options{})
	path := filepath.Join(t.TempDir(), "f")
	content := bytes.Repeat([]byte("line\n"), 100_000)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	var result wire.ReadResult
	got, err := c.ask(wire.Read{Path: path}, nil, 0, &result)
	if err != nil || !bytes.Equal(got, content) || result.Size != int64(len(content)) {
		t.Errorf("read %d bytes, %+v, %v", len(got), result, err)
	}
	if _, err := c.ask(wire.Read{Path: path, Max: 10}, nil, 0, &result); !wire.IsKind(err, wire.KindInvalid) {
		t.Errorf("over the limit: got %v", err)
	}
	if _, err := c.ask(wire.Read{Path: path + "x"}, nil, 0, &result); !wire.IsKind(err, wire.KindNotFound) {
		t.Errorf("missing file: got %v", err)
	}
	if hash := get[wire.HashResult](t, c, wire.Hash{Path: path}, nil); hash.SHA256 != writeRequest("", string(content)).SHA256 {
		t.Errorf("hash: %+v", hash)
	}
	if err := os.WriteFile(path, []byte("changed"), 0o600); err != nil {
		t.Fatal(err)
	}
	if hash := get[wire.HashResult](t, c, wire.Hash{Path: path}, nil); hash.SHA256 != writeRequest("", "changed").SHA256 {
		t.Errorf("hash of a changed file came from the cache: %+v", hash)
	}
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	mode := uint32(0o700)
	c := inProcess(t, Options{})
	for _, test := range []struct {
		name    string
		request wire.File
		changed bool
		after   string // type
		kind    string // of the error
	}{
		{"directory, only asked", wire.File{Path: at("a/b"), State: "directory", Check: true}, true, "", ""},
		{"directory", wire.File{Path: at("a/b"), State: "directory", Mode: &mode}, true, "directory", ""},
		{"directory again", wire.File{Path: at("a/b"), State: "directory", Mode: &mode}, false, "directory", ""},
		{"touch", wire.File{Path: at("a/f"), State: "touch"}, true, "file", ""},
		{"file that is there", wire.File{Path: at("a/f"), State: "file"}, false, "file", ""},
		{"file that is not", wire.File{Path: at("a/g"), State: "file"}, false, "", wire.KindNotFound},
		{"link", wire.File{Path: at("l"), State: "link", Source: "a/f"}, true, "link", ""},
		{"link again", wire.File{Path: at("l"), State: "link", Source: "a/f"}, false, "link", ""},
		{"link elsewhere", wire.File{Path: at("l"), State: "link", Source: "a/b"}, true, "link", ""},
		{"link over a file", wire.File{Path: at("a/f"), State: "link", Source: "b"}, false, "", wire.KindInvalid},
		{"hard", wire.File{Path: at("h"), State: "hard", Source: at("a/f")}, true, "file", ""},
		{"hard again", wire.File{Path: at("h"), State: "hard", Source: at("a/f")}, false, "file", ""},
		{"absent", wire.File{Path: at("a"), State: "absent"}, true, "", ""},
		{"absent again", wire.File{Path: at("a"), State: "absent"}, false, "", ""},
		{"absent, top level", wire.File{Path: "/etc", State: "absent"}, false, "", wire.KindInvalid},
		{"unknown state", wire.File{Path: at("a"), State: "gone"}, false, "", wire.KindInvalid},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := try[wire.FileResult](c, test.request, nil)
			if test.kind != "" {
				if !wire.IsKind(err, test.kind) {
					t.Errorf("got %v, want kind %s", err, test.kind)
				}
				return
			}
			if err != nil || got.Changed != test.changed || got.After.Type != test.after {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}
