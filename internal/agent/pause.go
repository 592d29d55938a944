// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"context"
	"path/filepath"
	"time"

	"drover/internal/wait"
)

const pauseInterval = 50 * time.Millisecond

// pause waits, with the agent stopped and the files edited, for the word to go on, but never longer than the plan allows: neither a dead
// bastion nor a dead connection leaves Nomad stopped. Somebody who starts the unit ends it too, and so does a restart of the host.
func (t *transaction) pause(ctx context.Context) error {
	if t.plan.Request.PauseMS == 0 {
		return nil
	}
	if !t.has(stepPaused) {
		until := uptime() + time.Duration(t.plan.Request.PauseMS)*time.Millisecond
		// The time since boot counts: a clock that is set meanwhile must not make the pause longer.
		if err := t.step(stepPaused, until.String()); err != nil {
			return err
		}
	}
	until, err := time.ParseDuration(t.noteOf(stepPaused))
	if err != nil {
		return nil //nolint:nilerr // without an end there is no pause
	}
	until = min(until, uptime()+time.Duration(t.plan.Request.PauseMS)*time.Millisecond)
	for round := 0; uptime() < until && !t.rebooted() && !exists(filepath.Join(t.dir, goFile)); round++ {
		if round%20 == 0 {
			if s, err := t.m.service(ctx, t.plan.Request.Unit); err == nil && s.MainPID > 0 {
				return nil
			}
		}
		if err := wait.For(ctx, pauseInterval); err != nil {
			return err
		}
	}
	return nil
}

// paused tells whether the transaction waits for the word to go on.
func (r *record) paused() bool {
	return r.has(stepPaused) && !r.has(stepStarting) && !r.has(stepReverting) && !r.ended() && !exists(filepath.Join(r.dir, goFile))
}
