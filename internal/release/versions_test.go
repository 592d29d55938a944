// SPDX-License-Identifier: MPL-2.0

package release

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestVersionsInADirectory(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{
		"nomad_1.4.14_linux_amd64.zip", "nomad_1.4.14_SHA256SUMS", "nomad-1.6.10", "nomad-1.8.4-linux-amd64", "1.10.5/nomad",
		"nomad/1.9.7/nomad_1.9.7_linux_arm64.zip", "nomad_1.8.18+ent_linux_amd64.zip", "nomad_1.11.0-rc.1_linux_amd64.zip",
		"consul_1.2.3_linux_amd64.zip", "nomad_1.7.7_windows_amd64.zip", "notes-1.2.3.txt",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Versions(dir)
	if diff := cmp.Diff([]string{"1.10.5", "1.11.0-rc.1", "1.4.14", "1.6.10", "1.8.18+ent", "1.8.4", "1.9.7"}, got); diff != "" || err != nil {
		t.Errorf("%v, versions (-want +got):\n%s", err, diff)
	}
	if _, err := Versions(filepath.Join(dir, "nothing")); err == nil {
		t.Error("a directory that is not there has versions")
	}
	bare := t.TempDir() // the usual place for a bare binary has the name of the folder
	if err := os.WriteFile(filepath.Join(bare, "nomad"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := Versions(bare); len(got) > 0 || err != nil {
		t.Errorf("%v, %v", got, err)
	}
}
