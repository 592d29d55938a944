// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"drover/internal/wire"
)

// unitOverTime is a host whose unit is what a function of the time since the first look says.
type unitOverTime struct {
	Host
	begun time.Time
	unit  func(since time.Duration) (wire.UnitState, error)
}

// Call implements Host.
func (h unitOverTime) Call(_ context.Context, request wire.Request, _ io.Reader, reply any) error {
	if asked, ok := request.(wire.Unit); !ok || asked.Name != "nomad.service" {
		return errors.New("not the unit")
	}
	unit, err := h.unit(time.Since(h.begun))
	*reply.(*wire.UnitState) = unit
	return err
}

// TestCrashLoopsIsDecidedOverAWhile: what a look says of a loop must not hang on whether a process runs at its instant.
func TestCrashLoopsIsDecidedOverAWhile(t *testing.T) {
	state := func(active string, pid, restarts int) wire.UnitState {
		return wire.UnitState{Name: "nomad.service", ActiveState: active, MainPID: pid, NRestarts: restarts}
	}
	steady := func(unit wire.UnitState) func(time.Duration) (wire.UnitState, error) {
		return func(time.Duration) (wire.UnitState, error) { return unit, nil }
	}
	tests := map[string]struct {
		unit   func(since time.Duration) (wire.UnitState, error)
		want   bool
		within time.Duration
	}{
		"between two starts":    {steady(state("activating", 0, 3)), true, 0},
		"stopped":               {steady(state("inactive", 0, 0)), false, 0},
		"given up":              {steady(state("failed", 0, 5)), false, 0},
		"runs, never restarted": {steady(state("active", 7, 0)), false, 0},
		"runs, once restarted":  {steady(state("active", 7, 1)), false, loopWatch + loopEvery},
		"a process of a loop's many": {func(since time.Duration) (wire.UnitState, error) {
			switch {
			case since < time.Second:
				return state("active", 7, 3), nil
			case since < 3*time.Second:
				return state("activating", 0, 3), nil
			}
			return state("active", 8, 4), nil
		}, true, 1200 * time.Millisecond},
		"the host is lost": {func(since time.Duration) (wire.UnitState, error) {
			if since > 0 {
				return wire.UnitState{}, errors.New("connection lost")
			}
			return state("active", 7, 3), nil
		}, false, loopEvery},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := unitOverTime{begun: time.Now(), unit: test.unit}
				first, _ := test.unit(0)
				got := crashLoops(t.Context(), host, wire.AgentResult{Unit: first, Running: first.MainPID > 0})
				if took := time.Since(host.begun); got != test.want || took > test.within {
					t.Errorf("crash-looping: %t, after %s; want %t within %s", got, took, test.want, test.within)
				}
			})
		})
	}
}
