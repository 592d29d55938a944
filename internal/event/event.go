// SPDX-License-Identifier: MPL-2.0

// Package event is the stream of what happens in a run: the executor sends it, and the screen, --output json and the journal read it.
package event

import (
	"errors"
	"time"
)

// Event is one thing that happened in a run. The same stream feeds the screen, --output json and the journal, so the JSON is a
// contract: fields are only ever added.
type Event struct {
	Version  int       `json:"version"` // of this format: 1
	Time     time.Time `json:"time"`
	Run      string    `json:"run"`
	Kind     Kind      `json:"kind"`
	Play     string    `json:"play,omitempty"`
	Batch    []string  `json:"batch,omitempty"` // play_start, batch_start: the hosts, in order
	Task     string    `json:"task,omitempty"`
	Module   string    `json:"module,omitempty"`
	File     string    `json:"file,omitempty"` // file:line of the task
	Host     string    `json:"host,omitempty"`
	Delegate string    `json:"delegate,omitempty"` // the host that did it, when not Host
	Item     string    `json:"item,omitempty"`     // a loop's item, as its label
	Status   Status    `json:"status,omitempty"`
	Changed  bool      `json:"changed,omitempty"`
	Ignored  bool      `json:"ignored,omitempty"` // failed, and ignore_errors let it pass
	Message  string    `json:"message,omitempty"`
	Result   any       `json:"result,omitempty"` // the registered result, redacted; host_result only
	Diff     string    `json:"diff,omitempty"`
	Seconds  float64   `json:"seconds,omitempty"` // how long it took
	Recap    []Tally   `json:"recap,omitempty"`   // run_end only, in inventory order
	Outcome  Outcome   `json:"outcome,omitempty"` // run_end only
}

// Kind names what an Event tells.
type Kind string

// Kinds of events.
const (
	RunStart   Kind = "run_start"
	PlayStart  Kind = "play_start"
	BatchStart Kind = "batch_start"
	TaskStart  Kind = "task_start"
	HostStart  Kind = "host_start"  // before the change: the journal fsyncs it
	HostItem   Kind = "host_item"   // one item of a loop is done
	HostRetry  Kind = "host_retry"  // until was not met; Message says which try it was
	HostWait   Kind = "host_wait"   // a module says what it is waiting for
	HostResult Kind = "host_result" // the task is done on this host
	Warning    Kind = "warning"
	PlayEnd    Kind = "play_end"
	RunEnd     Kind = "run_end"
)

// Awaited tells whether an event has to be on disk before anything follows it: it comes right before what may change a host, or it is
// the first or the last word on the run.
func (k Kind) Awaited() bool {
	switch k {
	case RunStart, HostStart, HostRetry, RunEnd:
		return true
	}
	return false
}

// Outcome is how a run ended.
type Outcome string

// Outcomes of a run.
const (
	Completed   Outcome = "ok"
	Broken      Outcome = "failed" // a host failed or was unreachable, or something stopped the run
	Interrupted Outcome = "interrupted"
)

// Status is a host's result of a task, in Ansible's words.
type Status string

// Results of a task on a host.
const (
	OK          Status = "ok"
	Failed      Status = "failed"
	Skipped     Status = "skipped"
	Unreachable Status = "unreachable"
)

// Tally is one host's line of the recap, with Ansible's words.
type Tally struct {
	Host        string `json:"host"`
	OK          int    `json:"ok"`
	Changed     int    `json:"changed"`
	Unreachable int    `json:"unreachable"`
	Failed      int    `json:"failed"`
	Skipped     int    `json:"skipped"`
	Rescued     int    `json:"rescued"`
	Ignored     int    `json:"ignored"`
}

// Sink takes events, one at a time, in order. An error stops the run: what cannot be recorded must not happen.
type Sink interface{ Emit(Event) error }

// Recorder is a Sink that keeps events on disk.
type Recorder interface {
	Sink
	// Commit returns when every event that was emitted before the call is on disk. Many may call it at once; they share one fsync.
	Commit() error
}

// Tee records each event and then shows it. A screen goes on showing what a record can no longer take: steps that are in hand
// then still end, and their results are to be seen somewhere.
func Tee(record Recorder, screen Sink) Recorder { return tee{record, screen} }

type tee struct {
	Recorder
	screen Sink
}

func (t tee) Emit(e Event) error { return errors.Join(t.Recorder.Emit(e), t.screen.Emit(e)) }
