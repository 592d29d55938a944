// SPDX-License-Identifier: MPL-2.0

package executor

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"drover/internal/expression"
)

// maxText bounds each text in an event, in bytes: what a host sends may be endless.
const maxText = 64 << 10

// recorder hands events to the sink one at a time, without secrets and without endless texts.
type recorder struct {
	mu      sync.Mutex
	sink    Sink
	now     func() time.Time
	run     string
	secrets []string
	hide    *strings.Replacer
	failed  error
	// stop is told when something could not be recorded: nothing new may start then.
	stop func(error)
}

// keepSecret has a text replaced wherever it occurs in later events. Texts of less than four characters would make the
// record unreadable and are left to no_log.
func (r *recorder) keepSecret(secret string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(secret) < 4 || slices.Contains(r.secrets, secret) {
		return
	}
	r.secrets = append(r.secrets, secret)
	// The longest first, so that a secret that contains another is replaced whole.
	slices.SortFunc(r.secrets, func(a, b string) int { return len(b) - len(a) })
	pairs := make([]string, 0, 2*len(r.secrets))
	for _, s := range r.secrets {
		pairs = append(pairs, s, "***")
	}
	r.hide = strings.NewReplacer(pairs...)
}

// emit records an event. It fails when this event, or an earlier one, could not be recorded.
func (r *recorder) emit(e Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.Version, e.Run, e.Time = 1, r.run, r.now()
	e.Message, e.Diff, e.Item, e.Task, e.Play = r.clean(e.Message), r.clean(e.Diff), r.clean(e.Item), r.clean(e.Task), r.clean(e.Play)
	if e.Result != nil {
		e.Result = r.cleanValue(e.Result, 0)
	}
	if err := r.sink.Emit(e); err != nil && r.failed == nil {
		r.failed = fmt.Errorf("record %s: %w", e.Kind, err)
		r.stop(r.failed)
	}
	return r.failed
}

func (r *recorder) clean(text string) string {
	if r.hide != nil {
		text = r.hide.Replace(text)
	}
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
			dictionary.Set(r.clean(key), r.cleanValue(item, depth+1))
		}
		return dictionary
	}
	return value
}
