// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"drover/internal/wait"
	"drover/internal/wire"
)

const (
	// checkLimit is how long a living agent is watched until it listens. It is not reverted then, only reported.
	checkLimit = 10 * time.Minute
	// What was seen good must stay so for a moment; longer where there are no ports to show that the agent is up.
	// After that the caller asks the agent itself, so that this is only the time in which a start that fails shows.
	stableListening = 200 * time.Millisecond
	stableBlind     = 2 * time.Second
	checkInterval   = 25 * time.Millisecond
)

// verdict is what the first check found. Neither good nor alive means that the process ended or was restarted.
type verdict struct {
	good  bool
	alive bool
	pid   int
	why   string
}

// check watches the unit after its start, without HTTP: it is active with one main process, which runs the wanted file,
// listens on its ports and is not restarted.
func (t *transaction) check(ctx context.Context, want fileID) (verdict, error) {
	return (&watcher{t: t, want: want}).watch(ctx, time.Now().Add(checkLimit))
}

type watcher struct {
	t        *transaction
	want     fileID
	pid      int
	restarts int
	good     time.Time
}

func (w *watcher) watch(ctx context.Context, deadline time.Time) (verdict, error) {
	stable := stableListening
	if len(w.t.plan.Request.Listen) == 0 {
		stable = stableBlind
	}
	for {
		s, err := w.t.m.service(ctx, w.t.plan.Request.Unit)
		if err != nil {
			return verdict{}, err
		}
		if why := w.ended(s); why != "" {
			return verdict{pid: s.MainPID, why: why}, nil
		}
		missing := w.missing(s)
		switch {
		case missing != "":
			w.good = time.Time{}
		case w.good.IsZero():
			w.good = time.Now()
			if err := w.noteListening(); err != nil {
				return verdict{}, err
			}
		case time.Since(w.good) >= stable:
			return verdict{good: true, alive: true, pid: s.MainPID}, nil
		}
		if time.Now().After(deadline) {
			return verdict{alive: true, pid: s.MainPID, why: missing}, nil
		}
		if err := wait.For(ctx, checkInterval); err != nil {
			return verdict{}, err
		}
	}
}

// noteListening records when the agent was up, which is when the gap ended. A revert's own start is another matter.
func (w *watcher) noteListening() error {
	if w.t.has(stepListening) || w.t.has(stepReverting) {
		return nil
	}
	return w.t.step(stepListening, "")
}

// ended says how the process has ended, "" while it lives. The restart counter begins at 0 with a start that is not
// systemd's own, as this one was; it is compared with the first value seen only where systemd was faster than us.
func (w *watcher) ended(s service) string {
	switch {
	case s.ActiveState == "failed" || s.ActiveState == "inactive":
		return fmt.Sprintf("%s ended (%s, result %s)", s.Name, s.ActiveState, s.Result)
	case strings.HasPrefix(s.SubState, "auto-restart"):
		return fmt.Sprintf("%s ended and systemd is about to restart it (result %s)", s.Name, s.Result)
	case s.ActiveState == "deactivating":
		return fmt.Sprintf("%s is stopping (%s)", s.Name, s.SubState)
	}
	if w.pid == 0 && s.MainPID > 0 {
		w.pid = s.MainPID
		if w.t.has(stepResumed) || w.t.noteOf(stepStopped) != "" {
			w.restarts = s.NRestarts
		}
	}
	if w.pid > 0 && s.MainPID != w.pid {
		return fmt.Sprintf("the main process of %s changed from %d to %d", s.Name, w.pid, s.MainPID)
	}
	if s.NRestarts > w.restarts {
		return fmt.Sprintf("systemd has restarted %s %d times since", s.Name, s.NRestarts-w.restarts)
	}
	return ""
}

// missing says what a living agent has not reached yet.
func (w *watcher) missing(s service) string {
	if s.ActiveState != "active" || s.MainPID == 0 {
		return fmt.Sprintf("%s is still %s (%s)", s.Name, s.ActiveState, s.SubState)
	}
	if id, err := runningFile(s.MainPID); err != nil || id != w.want {
		return fmt.Sprintf("process %d does not run %s", s.MainPID, w.t.plan.Binary)
	}
	sockets, err := listening(s.MainPID)
	if err != nil {
		return err.Error()
	}
	var ports []int
	for _, socket := range sockets {
		ports = append(ports, int(socket.Port()))
	}
	for _, port := range w.t.plan.Request.Listen {
		if !slices.Contains(ports, port) {
			return fmt.Sprintf("process %d does not listen on port %d yet", s.MainPID, port)
		}
	}
	return ""
}

// revertible says why a transaction that has ended cannot be reverted; nil where the last look, with the agent stopped,
// is worth taking.
func revertible(r *record) error {
	if !r.ended() {
		return failure(wire.KindInvalid, "swap %s is still at work", r.plan.ID)
	}
	if r.plan.restarts() || len(r.plan.Edits) > 0 {
		return failure(wire.KindInvalid, "swap %s has done more than exchange the binary", r.plan.ID)
	}
	if now, err := idOf(r.plan.Binary); err != nil || now != r.plan.New {
		return failure(wire.KindInvalid, "%s is not the binary that swap %s installed", r.plan.Binary, r.plan.ID)
	}
	if kept, err := idOf(r.plan.Previous); err != nil || kept != r.plan.Back {
		return failure(wire.KindNotFound, "the binary that swap %s replaced is not kept any more", r.plan.ID)
	}
	return copiesAllow(r.plan)
}
