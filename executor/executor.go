// SPDX-License-Identifier: MPL-2.0

// Package executor runs a parsed playbook over an inventory.
//
// Plays run one after the other, a play in batches (serial), a batch task by task: every host of the batch has done a task
// before the next task starts on any of them (Ansible's linear strategy). One goroutine decides what happens; it hands
// a task to at most forks (or throttle) hosts at a time and takes in their outcomes. What has happened goes out as
// events, each before anything that follows from it; an event that cannot be recorded stops the run.
//
// A host whose step failed takes no further step except the rescue and always of the blocks it is in. Where drover
// differs from Ansible it is stricter: a failed or unreachable host stops the run after its batch unless the play has
// max_fail_percentage, which counts unreachable hosts too, over all hosts of the play; run_once means once per play, not
// once per batch; and a play that no host matches is an error, unless it is over a group that the run itself makes.
package executor

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"drover/internal/event"
	"drover/internal/modules"
	"drover/internal/secret"
)

// run is the state of one run.
type run struct {
	Options
	store       *store
	record      *recorder
	connections connections
	templates   sync.Map // parsed texts of variables
	omit        string   // the value of the variable omit
	soft        context.Context
	hard        context.Context
	limit       map[string]bool // nil: no limit
	tallies     map[string]*event.Tally
	gone        map[string]event.Status // hosts that take no further step in this run
	started     bool                    // StartAt has been found
	summary     Summary
}

// Run runs the playbook. An error means that the run could not be started, or not be recorded; how the hosts fared is in
// the summary, which is there whenever anything may have been touched. When ctx is done, the steps in hand are finished and
// nothing new starts.
func Run(ctx context.Context, options Options) (*Summary, error) {
	if err := options.check(); err != nil {
		return nil, err
	}
	r, end := newRun(ctx, options)
	defer end()
	plays, err := r.prepare()
	if err != nil {
		return nil, err
	}
	_ = r.emit(event.Event{Kind: event.RunStart, File: options.Playbook.File})
	for _, p := range plays {
		if !r.proceeds() {
			r.summary.notStarted(p.view.name)
			continue
		}
		p.run()
	}
	return r.finish()
}

func newRun(ctx context.Context, options Options) (*run, func()) {
	r := &run{
		Options:     options,
		store:       newStore(options.Inventory),
		connections: connections{open: map[account]*opening{}},
		omit:        "__omit_place_holder__" + options.Run.ID,
		tallies:     map[string]*event.Tally{},
		gone:        map[string]event.Status{},
		started:     options.StartAt == "",
	}
	r.Run.Turn, r.Run.Sightings = modules.NewTurn(), modules.NewSightings()
	soft, stop := context.WithCancelCause(ctx)
	hard, abort := context.WithCancelCause(context.WithoutCancel(ctx))
	r.soft, r.hard = soft, hard
	unhook := func() bool { return true }
	if options.Abort != nil {
		unhook = context.AfterFunc(options.Abort, func() {
			stop(errAborted)
			abort(errAborted)
		})
	}
	now := options.Now
	if now == nil {
		now = time.Now
	}
	secrets := options.Secrets
	if secrets == nil {
		secrets = &secret.Redactor{}
	}
	KeepSecrets(secrets, options.Playbook, options.Inventory, options.ExtraVars)
	r.record = &recorder{sink: options.Sink, now: now, run: options.Run.ID, secrets: secrets, stop: func(err error) { stop(err) }}
	return r, func() {
		unhook()
		stop(nil)
		abort(nil)
	}
}

// proceeds tells whether anything new may start.
func (r *run) proceeds() bool { return r.summary.Stopped == "" && r.soft.Err() == nil }

func (r *run) forks() int {
	if r.Forks == 0 {
		return defaultForks
	}
	return r.Forks
}

func (r *run) isOmit(value any) bool {
	text, ok := value.(string)
	return ok && text == r.omit
}

func (r *run) emit(e event.Event) error { return r.record.emit(e) }

// warn tells the person something that does not stop the run.
func (r *run) warn(play, host, format string, args ...any) {
	_ = r.emit(event.Event{Kind: event.Warning, Play: play, Host: host, Message: fmt.Sprintf(format, args...)})
}

func (r *run) tally(host string) *event.Tally {
	if r.tallies[host] == nil {
		r.tallies[host] = &event.Tally{Host: host}
	}
	return r.tallies[host]
}

// finish sums the run up and records its end.
func (r *run) finish() (*Summary, error) {
	for _, host := range r.store.hostNames() {
		if tally, ok := r.tallies[host]; ok {
			r.summary.add(*tally)
		}
		if r.gone[host] == event.Unreachable {
			r.summary.Unreachable = append(r.summary.Unreachable, host)
		}
		if r.gone[host] == event.Failed {
			r.summary.Failed = append(r.summary.Failed, host)
		}
	}
	switch cause := context.Cause(r.soft); {
	case errors.Is(cause, errAborted):
		r.summary.Interrupted, r.summary.Aborted = true, true
	case cause != nil && r.record.failed == nil:
		r.summary.Interrupted = true
	}
	err := r.record.failed
	if err != nil && r.summary.Stopped == "" {
		r.summary.Stopped = err.Error()
	}
	_ = r.emit(event.Event{Kind: event.RunEnd, Recap: r.summary.Recap, Message: r.summary.String(), Outcome: r.summary.Outcome()})
	if err == nil {
		err = r.record.failed
	}
	return &r.summary, err
}

// Summary is how a run went.
type Summary struct {
	// Recap has a line for every host that took part, in inventory order.
	Recap []event.Tally
	// Failed and Unreachable are the hosts that take no further step, in inventory order.
	Failed, Unreachable []string
	// Refused are hosts on which a module did nothing because that would not have been safe; they are among Failed too.
	Refused []string
	// Stopped says why the run ended before its end; "" when it did not.
	Stopped string
	// Interrupted: the person asked to stop, and the steps in hand were finished; Aborted: they were cancelled.
	Interrupted, Aborted bool
	// NotDone are hosts of a play that had not finished it, or not begun, when the run stopped, without the failed ones.
	NotDone []string
	// NotStarted are the plays that had not begun.
	NotStarted []string
	// Pending are notifications whose handlers did not run.
	Pending []Pending
	Changed bool
}

// Outcome sums the run up in one word.
func (s *Summary) Outcome() event.Outcome {
	switch {
	case s.Interrupted || s.Aborted:
		return event.Interrupted
	case s.Stopped != "" || len(s.Failed) > 0 || len(s.Unreachable) > 0:
		return event.Broken
	}
	return event.Completed
}

// Pending is a handler that was notified on a host and did not run there.
type Pending struct{ Handler, Host string }

func (s *Summary) add(tally event.Tally) {
	s.Recap = append(s.Recap, tally)
	s.Changed = s.Changed || tally.Changed > 0
}

func (s *Summary) notStarted(play string) { s.NotStarted = append(s.NotStarted, play) }

// quoted keeps names apart that hold commas.
func quoted(names []string) []string {
	texts := make([]string, len(names))
	for i, name := range names {
		texts[i] = strconv.Quote(name)
	}
	return texts
}

// String says why and where the run stopped, and what was left; "" when it came to its end.
func (s *Summary) String() string {
	var lines []string
	switch {
	case s.Aborted:
		lines = append(lines, "aborted: steps that were running have been cancelled, look at their hosts before running again")
	case s.Interrupted:
		lines = append(lines, "interrupted: the steps in hand were finished and nothing new was started")
	}
	if s.Stopped != "" {
		lines = append(lines, "stopped: "+s.Stopped)
	}
	if len(s.NotDone) > 0 {
		lines = append(lines, "not finished: "+strings.Join(s.NotDone, ", "))
	}
	if len(s.NotStarted) > 0 {
		lines = append(lines, "plays not started: "+strings.Join(quoted(s.NotStarted), ", "))
	}
	for _, p := range s.Pending {
		lines = append(lines, fmt.Sprintf("handler %q was notified on %s and has not run", p.Handler, p.Host))
	}
	return strings.Join(lines, "\n")
}
