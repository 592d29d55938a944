// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"drover/internal/wire"
)

// edits is a restart with three edits on disk: a changed, a new and a removed file.
func editsOnDisk(t *testing.T) (*transaction, string) {
	t.Helper()
	tr := swapOnDisk(t)
	dir := t.TempDir()
	for name, text := range map[string]string{"changed": "a", "removed": "r", "model": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	wanted := []wire.SwapEdit{
		{Path: filepath.Join(dir, "changed"), Content: []byte("b"), Before: sumOf([]byte("a"))},
		{Path: filepath.Join(dir, "new"), Content: []byte("n"), Like: filepath.Join(dir, "model")},
		{Path: filepath.Join(dir, "removed"), Remove: true, Before: sumOf([]byte("r"))},
	}
	tr.plan.Request.Staged, tr.plan.Request.Edits = "", wanted
	if err := tr.plan.chooseEdits(); err != nil {
		t.Fatal(err)
	}
	if err := keepEdits(t.Context(), tr.plan, wanted); err != nil {
		t.Fatal(err)
	}
	return tr, dir
}

func filesIn(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		text, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		info, err := entry.Info()
		if err != nil {
			t.Fatal(err)
		}
		files[entry.Name()] = string(text) + " " + info.Mode().String()
	}
	return files
}

var (
	beforeEdits = map[string]string{"changed": "a -rw-r-----", "removed": "r -rw-r-----", "model": " -rw-r-----"}
	afterEdits  = map[string]string{"changed": "b -rw-r-----", "new": "n -rw-r-----", "model": " -rw-r-----"}
)

func TestEditsAreMadeAndTakenBackFromAnyPoint(t *testing.T) {
	for made := range 4 {
		tr, dir := editsOnDisk(t)
		whole := tr.plan.Edits
		// Killed after some of them: their end is not on record.
		tr.plan.Edits = whole[:made]
		if err := tr.edit(t.Context()); err != nil {
			t.Fatal(err)
		}
		tr.plan.Edits, tr.steps = whole, nil
		if err := tr.edit(t.Context()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(afterEdits, filesIn(t, dir)); diff != "" {
			t.Errorf("edited, first %d (-want +got):\n%s", made, diff)
		}
		// Killed again after some of them were taken back.
		tr.plan.Edits = slices.Clone(whole)
		for i := range made {
			tr.plan.Edits[2-i].After = tr.plan.Edits[2-i].Before
		}
		if err := tr.unedit(); err != nil {
			t.Fatal(err)
		}
		tr.plan.Edits = whole
		if err := tr.unedit(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(beforeEdits, filesIn(t, dir)); diff != "" {
			t.Errorf("taken back, last %d later (-want +got):\n%s", made, diff)
		}
	}
}

func TestAnEditGetsTheModeThatIsAskedFor(t *testing.T) {
	tr := swapOnDisk(t)
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"file": 0o600, "model": 0o640} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("a"), mode); err != nil {
			t.Fatal(err)
		}
	}
	wanted := []wire.SwapEdit{{Path: filepath.Join(dir, "file"), Content: []byte("b"), Before: sumOf([]byte("a")), Like: filepath.Join(dir, "model")}}
	tr.plan.Request.Edits = wanted
	if err := errors.Join(tr.plan.chooseEdits(), keepEdits(t.Context(), tr.plan, wanted), tr.edit(t.Context())); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"file": "b -rw-r-----", "model": "a -rw-r-----"}, filesIn(t, dir)); diff != "" {
		t.Errorf("edited (-want +got):\n%s", diff)
	}
	if err := tr.unedit(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"file": "a -rw-------", "model": "a -rw-r-----"}, filesIn(t, dir)); diff != "" {
		t.Errorf("taken back (-want +got):\n%s", diff)
	}
}

func TestAnEditOfSomebodyElseStays(t *testing.T) {
	tr, dir := editsOnDisk(t)
	if err := os.WriteFile(filepath.Join(dir, "changed"), []byte("mine"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := tr.edit(t.Context()); !wire.IsKind(err, wire.KindStale) {
		t.Errorf("error %v", err)
	}
	if err := tr.unedit(); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"changed": "mine -rw-r-----", "removed": "r -rw-r-----", "model": " -rw-r-----"}
	if diff := cmp.Diff(want, filesIn(t, dir)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A directory where a file was to be written stops the edits half-way, and keeps none of those that were made.
func TestADirectoryInTheWayOfAnEditKeepsNone(t *testing.T) {
	tr, dir := editsOnDisk(t)
	inTheWay := filepath.Join(dir, "new")
	if err := os.Mkdir(inTheWay, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := tr.edit(t.Context()); !errors.Is(err, unix.EISDIR) {
		t.Fatalf("error %v", err)
	}
	if err := tr.unedit(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(beforeEdits, filesIn(t, dir)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWhatTheAgentConsumedIsNotPutBack(t *testing.T) {
	tr, dir := editsOnDisk(t)
	if err := tr.edit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "new")); err != nil {
		t.Fatal(err)
	}
	if !tr.edited() {
		t.Error("what was edited and consumed counts as not edited")
	}
	if err := tr.edit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "new")); err == nil {
		t.Error("the file was written again")
	}
	if err := tr.unedit(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(beforeEdits, filesIn(t, dir)); diff != "" {
		t.Errorf("taken back (-want +got):\n%s", diff)
	}
}

func TestARestartedHostIsNotStoppedForAnEditThatWasNotBegun(t *testing.T) {
	tr, _ := editsOnDisk(t)
	if tr.bootedUnedited() {
		t.Error("without a restart of the host")
	}
	tr.plan.BootID = "another"
	if !tr.bootedUnedited() {
		t.Error("with nothing edited")
	}
	if err := tr.edit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if tr.bootedUnedited() || !tr.edited() {
		t.Error("with everything edited")
	}
}

func TestCopiesArePrunedByCount(t *testing.T) {
	dir := t.TempDir()
	names := []string{
		"server.drover-backup-20260101T000000.000-aaaaaa", "server.drover-backup-20260102T000000.000-aaaaaa.partial",
		"server.drover-backup-20260103T000000.000-aaaaaa", "server.drover-backup-20260104T000000.000-aaaaaa", "server.drover-backup-mine", "server",
	}
	for _, name := range names {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	p := plan{Backup: filepath.Join(dir, names[3])}
	p.Request.Backup = &wire.SwapBackup{From: filepath.Join(dir, "server"), Keep: 2}
	pruneBackups(p)
	var left []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		left = append(left, entry.Name())
	}
	if diff := cmp.Diff([]string{"server", names[2], names[3], "server.drover-backup-mine"}, left); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
