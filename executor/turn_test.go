// SPDX-License-Identifier: MPL-2.0

package executor

import "testing"

// TestTasksOfARunShareATurn holds that each run has one turn, which its tasks get with the rest of the run.
func TestTasksOfARunShareATurn(t *testing.T) {
	options := newWorld(t, "a\n", "- {hosts: all, tasks: [{act: }]}\n").options
	one, end := newRun(t.Context(), options)
	defer end()
	other, endOther := newRun(t.Context(), options)
	defer endOther()
	if one.Run.Turn == nil || one.Run.Turn == other.Run.Turn {
		t.Errorf("turns %p and %p", one.Run.Turn, other.Run.Turn)
	}
	if one.Run.Sightings == nil || one.Run.Sightings == other.Run.Sightings {
		t.Errorf("sightings %p and %p", one.Run.Sightings, other.Run.Sightings)
	}
}
