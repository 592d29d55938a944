// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"drover/internal/lab"
)

// binaryDir has the binaries of several versions.
func binaryDir(t *testing.T, versions ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, version := range versions {
		var said bytes.Buffer
		binary, err := lab.Nomad(t.Context(), version, "", lab.FindDirs(os.Getenv).Cache, &said)
		if err != nil {
			t.Fatalf("%v\n%s", err, said.String())
		}
		if err := os.Symlink(binary, filepath.Join(dir, "nomad-"+version)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// A single server on raft protocol 2 is migrated, and goes from 1.2.6 over 1.10.5 to 1.11.0: legs on the user's word, each with a survey,
// a snapshot and a proof of its own.
func TestLabStops(t *testing.T) {
	r := newRig(t, lab.Options{Servers: 1, Version: "1.2.6", RaftProtocol: 2}, "drover")
	both := binaryDir(t, oldVersion, newVersion)
	r.sub("what is missing is named", func(r *rig) {
		a := r.run("upgrade", "--to", newVersion, "--binary-dir", both, "--yes")
		wantAnswer(r.t, a, exitRefused, "1.2.6 to 1.11.0 spans 9 minor versions", "the way to 1.11.0 leads over 1.4 (not 1.4.0), 1.6, 1.8", "has none of the kind")
	})
	r.sub("a stop without a binary", func(r *rig) {
		a := r.run("upgrade", "--to", newVersion, "--via", oldVersion, "--allow-unsupported-skip", "--binary-dir", binaryDir(r.t.(*testing.T), oldVersion), "--yes")
		wantAnswer(r.t, a, exitRefused, "there is no usable Nomad 1.11.0 for")
		r.wantVersion("1.2.6")
	})
	r.sub("raft protocol 2 comes first", func(r *rig) {
		a := r.run("upgrade", "--to", newVersion, "--via", oldVersion, "--allow-unsupported-skip", "--binary-dir", both, "--yes")
		wantAnswer(r.t, a, exitRefused, "uses raft protocol 2", "migrate first, on the version that runs now: drover raft-v3")
		r.must("raft-v3", "--yes")
	})
	r.sub("leg after leg", func(r *rig) {
		a := r.must("upgrade", "--to", newVersion, "--via", oldVersion, "--allow-unsupported-skip", "--binary-dir", both, "--yes")
		r.wantVersion(newVersion)
		at := -1
		for _, word := range []string{"in 2 legs", "Leg 1 of 2: to 1.10.5", "needs raft protocol 3", "Leg 2 of 2: to 1.11.0", "\nLeg to 1.10.5", "\nLeg to 1.11.0"} {
			next := strings.Index(a.out, word)
			if next <= at {
				r.t.Errorf("%q is missing, or comes too early: %s", word, a)
			}
			at = next
		}
		kept, err := filepath.Glob(filepath.Join(r.state, "drover", "runs", "*", "nomad-global.snapshot"))
		if err != nil || len(kept) != 2 {
			r.t.Errorf("each leg takes a snapshot: %q, %v", kept, err)
		}
		if line := r.onHost("s1", "/usr/local/bin/nomad.drover-previous", "version"); !strings.HasPrefix(line, "Nomad v"+oldVersion) {
			r.t.Errorf("the binary of the leg before was not kept: %q", line)
		}
	})
	r.sub("a second run changes nothing", (*rig).secondRunChangesNothing)
}
