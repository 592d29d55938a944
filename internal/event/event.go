// SPDX-License-Identifier: MPL-2.0

// Package event is the stream of what happens in a run: the executor sends it, and the screen, --output json, the journal
// and the report read it.
package event

import "time"

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
