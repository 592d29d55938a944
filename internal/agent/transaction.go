// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"drover/internal/wait"
	"drover/internal/wire"
)

// transaction exchanges the binary of a unit and restarts it, in a process of its own. It may be killed at any point
// and is then started again with the same record, so every step first asks the host whether it has been made.
//
// The exchange comes before the stop: what runs keeps its old file, and the time between stop and start holds
// nothing but what must be done while no agent runs, the copy of a client's small database.
type transaction struct {
	*record
	m *manager
}

const (
	maxResumes   = 40
	infiniteStop = 10 * time.Minute
)

// Swap carries the transaction in dir to its end. An error means that it could not be brought to an end and wants to
// be started again.
func Swap(ctx context.Context, dir string) error {
	r, err := openRecord(dir)
	if err != nil {
		err = fmt.Errorf("read the record %s: %w", dir, err)
		if r, unwritable := readRecord(dir); unwritable == nil && !r.ended() {
			err = errors.Join(err, startUnrecorded(ctx, r))
		}
		return err
	}
	defer r.close()
	if err := unix.Flock(int(r.out.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("swap %s is at work in another process: %w", r.plan.ID, err)
	}
	if r.ended() {
		return nil
	}
	if !r.has(stepCommitted) {
		return fmt.Errorf("swap %s was never committed", r.plan.ID)
	}
	if len(r.steps) > 1 {
		if err := r.step(stepResumed, ""); err != nil {
			return errors.Join(err, startUnrecorded(ctx, r))
		}
		// The first resumes are at once, since the agent may be down; a fault that stays gets time to pass.
		if n := r.count(stepResumed); n > 3 {
			_ = wait.For(ctx, min(time.Duration(n)*100*time.Millisecond, 2*time.Second))
		}
	}
	m, err := connectSystemd(ctx)
	if err != nil {
		return err
	}
	defer m.close()
	return (&transaction{record: r, m: m}).carry(ctx)
}

// startUnrecorded starts the agent of a transaction that has stopped it and can record nothing any more, because the
// disk is full or broken. Whatever binary is in place at any step may be started.
func startUnrecorded(ctx context.Context, r *record) error {
	if !r.has(stepStopping) {
		return nil
	}
	m, err := connectSystemd(ctx)
	if err != nil {
		return err
	}
	defer m.close()
	if _, err := m.start(ctx, r.plan.Request.Unit); err != nil {
		return err
	}
	return wait.For(ctx, 2*time.Second) // systemd starts this process again at once, and the disk needs time
}

// carry goes on from where the record stands and writes the ending.
func (t *transaction) carry(ctx context.Context) error {
	var e ending
	var err error
	switch {
	case t.has(stepReverting):
		e, err = t.revert(ctx)
	case t.plan.Kind == kindRevert:
		e, err = t.beginRevert(ctx, "the caller asked for it", nil)
	default:
		e, err = t.forward(ctx)
	}
	if err != nil && t.count(stepResumed) >= maxResumes {
		e, err = t.giveUp(ctx, err), nil
	}
	if err != nil {
		return err
	}
	if err := removeDropIn(ctx, t.m, t.plan.Request.Unit); err != nil && t.count(stepResumed) < maxResumes {
		return err
	}
	if e.State == wire.SwapDone && !t.plan.Request.Hold {
		os.RemoveAll(t.plan.Copies)
	}
	if err := t.end(e); err != nil {
		return err
	}
	if e.State == wire.SwapDone {
		pruneBackups(t.plan)
	}
	if e.State != wire.SwapFailed {
		// Should this process be killed first, settling the outcome does it.
		tidy(t.plan, e.State, append(swapDirsIn(defaultHomes()), filepath.Dir(filepath.Dir(t.dir))))
	}
	return nil
}

// giveUp ends a transaction that keeps failing for reasons of the host. The last thing it owes is a started agent.
func (t *transaction) giveUp(ctx context.Context, cause error) ending {
	word, err := t.m.start(ctx, t.plan.Request.Unit)
	return ending{
		State: wire.SwapFailed,
		Error: fmt.Sprintf("the swap could not be brought to its end: %v; start of %s: %s", cause, t.plan.Request.Unit, wordOr(word, err)),
		Hint:  "see the journal of " + transientName(t.plan),
	}
}

func wordOr(word string, err error) string {
	if err != nil {
		return err.Error()
	}
	return word
}

// forward exchanges, stops, starts and checks.
func (t *transaction) forward(ctx context.Context) (ending, error) {
	if !t.has(stepStopping) && t.overtaken() {
		if err := t.step(stepStopping, "the old agent has ended by itself"); err != nil {
			return ending{}, err
		}
	}
	if !t.has(stepStopping) {
		if stale, err := t.stale(ctx); err != nil || stale != "" {
			return t.untouch(stale, err)
		}
		if err := t.ready(ctx); err != nil {
			return t.untouch("", err)
		}
		if late := uptime() - t.plan.StopBy; late > 0 {
			return t.untouch(fmt.Sprintf("the host was %s too slow to begin the stop that was permitted", late.Round(time.Millisecond)), nil)
		}
		if err := t.step(stepStopping, ""); err != nil {
			return ending{}, err
		}
	}
	if !t.has(stepStarting) {
		if t.bootedUnedited() {
			return t.notEdited(ctx)
		}
		if !t.has(stepPaused) && !(t.rebooted() && t.edited()) {
			gone, err := t.stop(ctx)
			if err != nil {
				return ending{}, err
			}
			if !gone {
				return t.stuck(ctx), nil
			}
			if err := t.whileStopped(ctx); err != nil {
				return t.uncopied(ctx, err)
			}
		}
		if err := t.pause(ctx); err != nil {
			return ending{}, err
		}
		if err := t.step(stepStarting, ""); err != nil {
			return ending{}, err
		}
	}
	return t.start(ctx)
}

// whileStopped does what needs an agent that does not run.
func (t *transaction) whileStopped(ctx context.Context) error {
	if err := t.backUp(ctx); err != nil {
		return err
	}
	if err := t.edit(ctx); err != nil {
		return err
	}
	return t.keep()
}

// uncopied goes back when what a revert needs cannot be kept. Trying again would leave the agent stopped meanwhile,
// and the new binary has not run yet, so that the old one may come back to whatever it left.
func (t *transaction) uncopied(ctx context.Context, cause error) (ending, error) {
	what := "the new binary was not started: "
	if t.plan.restarts() {
		what = "the agent was started again as it was: "
	}
	if err := t.step(stepReverting, what+cause.Error()); err != nil {
		return ending{}, err
	}
	return t.revert(ctx)
}

// start starts the new binary and checks it.
func (t *transaction) start(ctx context.Context) (ending, error) {
	unit := t.plan.Request.Unit
	if !t.has(stepStarted) || t.rebooted() {
		if t.has(stepResumed) {
			if err := t.m.resetFailed(ctx, unit); err != nil {
				return ending{}, err
			}
		}
		word, err := t.m.start(ctx, unit)
		if err != nil {
			return ending{}, err
		}
		if err := t.mark(stepStarted, "systemd's job: "+word); err != nil {
			return ending{}, err
		}
	}
	if err := t.syncCopies(); err != nil {
		return ending{}, err
	}
	verdict, err := t.check(ctx, t.plan.New)
	if err != nil {
		return ending{}, err
	}
	switch {
	case verdict.good:
		return ending{State: wire.SwapDone, NewPID: verdict.pid}, t.step(stepChecked, fmt.Sprintf("process %d", verdict.pid))
	case verdict.alive:
		return ending{
			State: wire.SwapFailed, NewPID: verdict.pid, Error: "the new agent lives, but " + verdict.why,
			Hint: "it was left alone, since slow is not failed; see whether it comes up, and its journal if not",
			Log:  t.log(ctx),
		}, nil
	}
	log := t.log(ctx)
	if err := t.step(stepFailed, verdict.why); err != nil {
		return ending{}, err
	}
	return t.beginRevert(ctx, verdict.why, log)
}

// overtaken tells that the exchange was made and the old process ended before it was stopped: by a crash, or by a
// restart of the host. The next start, perhaps by now, is the new binary's; there is no way back but a check.
func (t *transaction) overtaken() bool {
	if t.plan.restarts() {
		return false // there is nothing yet that the next start would run differently
	}
	now, err := idOf(t.plan.Binary)
	before := t.plan.Request.MainPID > 0 || t.rebooted()
	return err == nil && now == t.plan.New && before && !t.oldLives()
}

// rebooted tells that the host was restarted since the plan was made, so that what was started needs to be started
// again; a unit that its boot has started already takes no harm from that.
func (t *transaction) rebooted() bool { return t.plan.BootID != bootID() }

// stale says why the permission does not hold any more: the process is another than the one it was given for.
func (t *transaction) stale(ctx context.Context) (string, error) {
	if t.rebooted() {
		return "the host was restarted before anything was stopped", nil
	}
	s, err := t.m.service(ctx, t.plan.Request.Unit)
	if err != nil {
		return "", err
	}
	if s.MainPID != t.plan.Request.MainPID || startTicks(s.MainPID) != t.plan.OldTicks {
		return fmt.Sprintf("the main process of %s is %d, the swap was permitted for %d", s.Name, s.MainPID, t.plan.Request.MainPID), nil
	}
	return "", nil
}

// ready does all that can be done while the old agent still runs: the start limit, the stop signal and the exchange of
// the binary.
func (t *transaction) ready(ctx context.Context) error {
	if err := t.m.resetFailed(ctx, t.plan.Request.Unit); err != nil {
		return err
	}
	if signal := t.plan.Request.Signal; signal != wire.StopUnit {
		if err := installDropIn(ctx, t.m, t.plan.Request.Unit, signal); err != nil {
			return err
		}
		if err := t.mark(stepDropIn, "KillSignal=SIG"+signal); err != nil {
			return err
		}
		if err := t.reloaded(ctx); err != nil {
			return err
		}
	}
	// Where nothing runs, nothing may come up between the exchange and the look at the files.
	if t.plan.Request.MainPID == 0 {
		if _, err := t.m.stop(ctx, t.plan.Request.Unit); err != nil {
			return err
		}
	}
	s, err := t.m.service(ctx, t.plan.Request.Unit)
	if err != nil {
		return err
	}
	if err := t.step(stepExchanging, s.InvocationID); err != nil {
		return err
	}
	if err := exchange(t.plan); err != nil {
		return err
	}
	if t.plan.restarts() {
		return nil
	}
	return t.mark(stepExchanged, "old binary kept as "+t.plan.Previous)
}

// reloaded looks at the unit again after systemd has read all of its files: a drop-in of somebody else may have the
// last word on the signal, and whatever was edited since the last reload is in force only now.
func (t *transaction) reloaded(ctx context.Context) error {
	s, err := t.m.loaded(ctx, t.plan.Request.Unit)
	if err != nil {
		return err
	}
	return stillSwappable(s, t.plan)
}

func stillSwappable(s service, p plan) error {
	if err := checkUnit(s, p.Request); err != nil {
		return err
	}
	wanted := map[string]unix.Signal{wire.StopINT: unix.SIGINT, wire.StopTERM: unix.SIGTERM, wire.StopKILL: unix.SIGKILL}
	if signal, named := wanted[p.Request.Signal]; named && s.KillSignal != int(signal) {
		refused := failure(wire.KindInvalid, "%s would be stopped with signal %d although drover's drop-in says %s", s.Name, s.KillSignal, p.Request.Signal)
		refused.Hint = "another drop-in sets KillSignal after " + filepath.Base(dropInPath(s.Name)) + ": see systemctl cat " + s.Name
		return refused
	}
	if at, err := installed(s); err != nil || at.place() != p.Binary {
		refused := failure(wire.KindStale, "%s starts %s now, and %s when the swap was prepared: its unit files had changed since systemd read them", s.Name, at.place(), p.Binary)
		return errors.Join(refused, err)
	}
	return nil
}

// untouch ends a transaction that has stopped nothing.
func (t *transaction) untouch(why string, cause error) (ending, error) {
	if cause != nil {
		why = cause.Error()
	}
	if err := unexchange(t.plan); err != nil {
		return ending{
			State: wire.SwapFailed, Error: why + "; and " + err.Error(),
			Hint: "nothing was stopped, but the next start of the unit runs what is at " + t.plan.Binary,
		}, nil
	}
	return ending{State: wire.SwapUntouched, NewPID: t.plan.Request.MainPID, Error: why, Hint: "nothing was stopped; run again"}, nil
}

// stop stops the old process by way of systemd, so that nothing restarts it, and waits until it is really gone. A
// process of the new binary is none to be stopped: then the old one has ended by itself and systemd was faster. A
// note says that the new binary may have been at work before the copies could be made.
func (t *transaction) stop(ctx context.Context) (gone bool, err error) {
	unit := t.plan.Request.Unit
	s, err := t.m.service(ctx, unit)
	if err != nil {
		return false, err
	}
	unedited := len(t.plan.Edits) > 0 && !t.has(stepEdited)
	if s.MainPID > 0 && !unedited {
		if id, err := runningFile(s.MainPID); err == nil && id == t.plan.New && !t.oldLives() {
			return true, t.mark(stepStopped, "the new binary runs already")
		}
	}
	limit := infiniteStop
	if usec := s.TimeoutStopUSec; usec > 0 && usec < uint64(infiniteStop/time.Microsecond) {
		limit = time.Duration(usec)*time.Microsecond + 30*time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if _, err := t.m.stop(ctx, unit); err != nil && !wire.IsKind(err, wire.KindTimeout) {
		return false, err
	}
	for t.oldLives() {
		if wait.For(ctx, 5*time.Millisecond) != nil {
			return false, nil
		}
	}
	if s, err = t.m.service(ctx, unit); err != nil {
		return false, err
	}
	note := ""
	if s.InvocationID != t.noteOf(stepExchanging) {
		note = "the unit was started since the exchange: the new binary may have run"
	}
	return true, t.mark(stepStopped, note)
}

// oldLives tells whether the process that was to be stopped is still there.
func (t *transaction) oldLives() bool {
	return t.plan.Request.MainPID > 0 && !t.rebooted() && startTicks(t.plan.Request.MainPID) == t.plan.OldTicks
}

// stuck ends a transaction whose old process does not end.
func (t *transaction) stuck(ctx context.Context) ending {
	hint := "the new binary is in place, and systemd starts it as soon as the old process is gone"
	if _, err := t.m.conn.StartUnitContext(ctx, t.plan.Request.Unit, "replace", nil); err != nil {
		hint = "the new binary is in place; when the old process is gone, start the unit: systemctl start " + t.plan.Request.Unit
	}
	return ending{
		State: wire.SwapFailed, NewPID: t.plan.Request.MainPID,
		Error: fmt.Sprintf("the old agent (process %d) was told to stop and does not end", t.plan.Request.MainPID),
		Hint:  hint,
		Log:   t.log(ctx),
	}
}

// log is what the unit said last. An agent that did not come up is explained by it; without it there is still the rest.
func (t *transaction) log(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	lines, err := journal(ctx, t.plan.Request.Unit, 20)
	if err != nil {
		return []string{err.Error()}
	}
	return lines
}
