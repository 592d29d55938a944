// SPDX-License-Identifier: MPL-2.0

package journal

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"drover/internal/event"
	"drover/internal/secret"
)

// severalRuns makes runs with these names, each with an end and this outcome.
func severalRuns(t *testing.T, outcomes map[string]event.Outcome) string {
	t.Helper()
	runs := filepath.Join(t.TempDir(), "runs")
	for name, outcome := range outcomes {
		w, err := Create(filepath.Join(runs, name), someManifest(), &secret.Redactor{})
		if err != nil {
			t.Fatal(err)
		}
		if outcome != "" {
			err = w.Emit(event.Event{Version: 1, Kind: event.RunEnd, Outcome: outcome})
		}
		if err := errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return runs
}

func TestListIsNewestFirst(t *testing.T) {
	runs := severalRuns(t, map[string]event.Outcome{"20260101T000000-1": event.Completed, "20260102T000000-1": event.Broken, "20260103T000000-1": ""})
	if err := os.MkdirAll(filepath.Join(runs, "20260104T000000-1"), 0o700); err != nil { // a survey's, without a record
		t.Fatal(err)
	}
	alive, err := Create(filepath.Join(runs, "20260105T000000-1"), someManifest(), &secret.Redactor{})
	if err != nil {
		t.Fatal(err)
	}
	defer alive.Close()
	list, err := List(runs)
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, run := range list {
		told = append(told, run.ID[6:8]+" "+string(run.State))
	}
	if got, want := strings.Join(told, ", "), "05 running, 03 died, 02 failed, 01 ok"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if none, err := List(filepath.Join(runs, "nowhere")); err != nil || len(none) != 0 {
		t.Errorf("%v, %v", none, err)
	}
}

func TestFind(t *testing.T) {
	runs := severalRuns(t, map[string]event.Outcome{"20260101T000000-1": event.Completed, "20260102T000000-1": event.Broken, "20260102T000000-12": event.Broken})
	for _, test := range []struct{ name, want, problem string }{
		{"last", "20260102T000000-12", ""},
		{"20260101", "20260101T000000-1", ""},
		{"20260102T000000-1", "20260102T000000-1", ""},
		{"20260102", "", "2 runs begin with"},
		{"20260101T000000-2", "", "did you mean"},
		{"", "", "3 runs begin with"},
		{"../runs", "", "no run"},
	} {
		got, err := Find(runs, test.name)
		if test.problem == "" && (err != nil || filepath.Base(got) != test.want) || test.problem != "" && (err == nil || !strings.Contains(err.Error(), test.problem)) {
			t.Errorf("%q: %q, %v", test.name, got, err)
		}
	}
	if _, err := Find(filepath.Join(runs, "nowhere"), "last"); err == nil || !strings.Contains(err.Error(), "no run is on record") {
		t.Errorf("%v", err)
	}
}

func TestARunThatIsAliveIsNotRemoved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "r1")
	w, err := Create(dir, someManifest(), &secret.Redactor{})
	if err != nil {
		t.Fatal(err)
	}
	if running, err := Running(dir); err != nil || !running {
		t.Errorf("running %t, %v", running, err)
	}
	if err := Remove(dir); !errors.Is(err, errAlive) {
		t.Errorf("%v", err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if running, err := Running(dir); err != nil || running {
		t.Errorf("running %t, %v", running, err)
	}
	if err := Remove(dir); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestFollow(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "r1")
	w, err := Create(dir, someManifest(), &secret.Redactor{})
	if err != nil {
		t.Fatal(err)
	}
	all := someEvents()
	if err := w.Emit(all[0]); err != nil {
		t.Fatal(err)
	}
	j, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	// Each event is written only after the one before was read, so all but the first are waited for.
	seen := 0
	for e, err := range j.Follow(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind != all[seen].Kind {
			t.Errorf("event %d is %s", seen, e.Kind)
		}
		if seen++; seen < len(all) {
			err = w.Emit(all[seen])
		} else {
			err = w.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if seen != len(all) || j.Torn() {
		t.Errorf("%d events", seen)
	}
}

func TestFollowEndsWithItsContext(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "r1")
	w, err := Create(dir, someManifest(), &secret.Redactor{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	j, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range j.Follow(ctx) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	}
}
