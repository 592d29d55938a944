// SPDX-License-Identifier: MPL-2.0

package executor

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"drover/internal/event"
	"drover/internal/expression"
	"drover/internal/secret"
)

// maxText bounds each text in an event, in bytes: what a host sends may be endless.
const maxText = 64 << 10

// recorder hands events to the sink one at a time, without secrets and without endless texts.
type recorder struct {
	mu      sync.Mutex
	sink    event.Sink
	now     func() time.Time
	run     string
	secrets *secret.Redactor
	failed  error
	// stop is told when something could not be recorded: nothing new may start then.
	stop func(error)
}

// emit records an event. It fails when this event, or an earlier one, could not be recorded. Where the record is kept on disk it
// waits until the event is there, if it has to; several hosts then wait for the same fsync.
func (r *recorder) emit(e event.Event) error {
	if err := r.send(e); err != nil {
		return err
	}
	record, kept := r.sink.(event.Recorder)
	if !kept || !e.Kind.Awaited() {
		return nil
	}
	err := record.Commit()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.taken(e.Kind, err)
}

func (r *recorder) send(e event.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.Version, e.Run, e.Time = 1, r.run, r.now()
	e.Message, e.Diff, e.Item, e.Task, e.Play = r.clean(e.Message), r.clean(e.Diff), r.clean(e.Item), r.clean(e.Task), r.clean(e.Play)
	if e.Result != nil {
		e.Result = r.cleanValue(e.Result, 0)
	}
	return r.taken(e.Kind, r.sink.Emit(e))
}

// taken stops the run at the first event that could not be recorded.
func (r *recorder) taken(kind event.Kind, err error) error {
	if err != nil && r.failed == nil {
		r.failed = fmt.Errorf("record %s: %w", kind, err)
		r.stop(r.failed)
	}
	return r.failed
}

func (r *recorder) clean(text string) string {
	text = r.secrets.Clean(text)
	if len(text) > maxText {
		return strings.ToValidUTF8(text[:maxText], "") + fmt.Sprintf(" ... (%d bytes more)", len(text)-maxText)
	}
	return text
}

func (r *recorder) cleanValue(value any, depth int) any {
	if depth > maxNesting {
		return "..."
	}
	switch v := value.(type) {
	case string:
		return r.clean(v)
	case []any:
		list := make([]any, len(v))
		for i, item := range v {
			list[i] = r.cleanValue(item, depth+1)
		}
		return list
	case *expression.Map:
		dictionary := expression.NewMap()
		for key, item := range v.All() {
			if secret.Named(key) && secret.Holds(item) {
				item = secret.Hidden
			}
			dictionary.Set(r.clean(key), r.cleanValue(item, depth+1))
		}
		return dictionary
	}
	return value
}
