// SPDX-License-Identifier: MPL-2.0

package executor

import "drover/internal/event"

// The event stream is declared in internal/event, since the console and the journal read it too and may not import the executor.
type (
	// Event is one thing that happened in a run.
	Event = event.Event
	// Status is a host's result of a task.
	Status = event.Status
	// Tally is one host's line of the recap.
	Tally = event.Tally
	// Sink takes events, one at a time, in order.
	Sink = event.Sink
)
