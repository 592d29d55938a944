// SPDX-License-Identifier: MPL-2.0

package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"drover/internal/event"
	"drover/internal/nearest"
)

// State is how a run stands: one of event's outcomes, or one of these.
type State = event.Outcome

// States of runs that have no end on record.
const (
	Alive   State = "running"
	Died    State = "died" // it has no end, and its process is gone
	Damaged State = "damaged"
)

// Run is one line of a list of runs.
type Run struct {
	ID       string
	Dir      string
	State    State
	Manifest Manifest
	Last     time.Time // when the last event was
	// Problem is what is wrong with the record; the rest is then what could be read.
	Problem error
}

// List finds the runs in a directory of runs, the newest first. A directory that is not there has none.
func List(runs string) ([]Run, error) {
	names, err := Names(runs)
	if err != nil {
		return nil, err
	}
	list := make([]Run, len(names))
	for i, name := range names {
		list[i] = Look(filepath.Join(runs, name))
	}
	return list, nil
}

// Names lists the runs in a directory of runs, the newest first. Their names begin with the time.
func Names(runs string) ([]string, error) {
	entries, err := os.ReadDir(runs)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var found []string
	for _, entry := range entries {
		if _, err := os.Lstat(filepath.Join(runs, entry.Name(), PlanFile)); err == nil {
			found = append(found, entry.Name())
		}
	}
	slices.Sort(found)
	slices.Reverse(found)
	return found, nil
}

// Find returns the directory of a run: "last", its name, or a beginning of its name that no other run has.
func Find(runs, name string) (string, error) {
	all, err := Names(runs)
	if err != nil {
		return "", err
	}
	if len(all) == 0 {
		return "", fmt.Errorf("no run is on record in %s", runs)
	}
	if name == "last" {
		return filepath.Join(runs, all[0]), nil
	}
	var fitting []string
	for _, run := range all {
		if run == name {
			return filepath.Join(runs, run), nil
		}
		if strings.HasPrefix(run, name) {
			fitting = append(fitting, run)
		}
	}
	switch len(fitting) {
	case 1:
		return filepath.Join(runs, fitting[0]), nil
	case 0:
		hint := nearest.Hint(name, all)
		if hint != "" {
			hint = "; " + hint
		}
		return "", fmt.Errorf("no run %q is on record in %s%s", name, runs, hint)
	}
	return "", fmt.Errorf("%d runs begin with %q: %s", len(fitting), name, strings.Join(fitting, ", "))
}

// Look reads how a run stands.
func Look(dir string) Run {
	run := Run{ID: filepath.Base(dir), Dir: dir, State: Damaged}
	journal, err := Open(dir)
	if err != nil {
		run.Problem = err
		return run
	}
	run.Manifest = journal.Manifest
	// The lock first: a run that ends in between has its end on record then.
	alive, err := Running(dir)
	if err != nil {
		run.Problem = err
		return run
	}
	var last []byte
	for line, err := range journal.lines(nil) {
		if err != nil {
			run.Problem = err
			return run
		}
		last = append(last[:0], line.text...)
	}
	run.State = Died
	if alive {
		run.State = Alive
	}
	if last == nil {
		return run
	}
	ended, err := decode(last)
	if err != nil {
		run.State, run.Problem = Damaged, err
		return run
	}
	run.Last = ended.Time
	if ended.Kind == event.RunEnd && !alive {
		run.State = ended.Outcome
	}
	return run
}

// errAlive is why a run is not removed.
var errAlive = errors.New("the run is still going on")

// Remove deletes the record of a run, with everything else in its directory; never that of a run that is alive.
func Remove(dir string) error {
	opened, err := os.Open(filepath.Join(dir, EventsFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err == nil {
		defer opened.Close()
		switch err := unix.Flock(int(opened.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
		case errors.Is(err, unix.EWOULDBLOCK):
			return fmt.Errorf("%s: %w", dir, errAlive)
		case err != nil:
			return fmt.Errorf("lock %s: %w", opened.Name(), err)
		}
	}
	return os.RemoveAll(dir)
}
