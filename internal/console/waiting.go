// SPDX-License-Identifier: MPL-2.0

package console

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"drover/internal/event"
	"drover/internal/printable"
)

// silence is how long nothing may be said until a person is told which hosts everybody waits for.
const silence = 3 * time.Second

// namesShown bounds how many hosts one line names.
const namesShown = 5

// Waiting passes events on and, when none has come for a while, tells talk which hosts the task waits for: those that work
// on it, else those that are still being reached. The second result ends that; after it nothing is written any more.
func Waiting(next event.Sink, talk io.Writer, options Options) (event.Sink, func()) {
	w := &waiting{next: next, lines: &lines{out: talk, talk: talk, options: options}, done: make(chan struct{})}
	var watching sync.WaitGroup
	watching.Go(w.watch)
	return w, sync.OnceFunc(func() {
		close(w.done)
		watching.Wait()
	})
}

type waiting struct {
	next  event.Sink
	lines *lines
	done  chan struct{}

	mu      sync.Mutex
	at      time.Time // of the last event or line
	since   time.Time // when the task began
	hosts   []string  // of the batch, in order
	working map[string]bool
	told    map[string]bool   // hosts whose result is there
	says    map[string]string // what a working host said last that it waits for
}

// Emit is event.Sink.
func (w *waiting) Emit(e event.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = time.Now()
	switch e.Kind {
	case event.PlayStart, event.BatchStart:
		w.hosts = e.Batch
		w.since = time.Time{}
	case event.TaskStart:
		w.since, w.working, w.told = w.at, map[string]bool{}, map[string]bool{}
		w.says = map[string]string{}
	case event.HostStart:
		w.working[e.Host] = true
	case event.HostResult:
		delete(w.working, e.Host)
		w.told[e.Host] = true
		if e.Status == event.Unreachable || e.Status == event.Failed {
			w.hosts = slices.DeleteFunc(slices.Clone(w.hosts), func(host string) bool { return host == e.Host && !e.Ignored })
		}
	case event.PlayEnd, event.RunEnd:
		w.since = time.Time{}
	case event.HostWait:
		if w.says != nil {
			w.says[e.Host] = e.Message
		}
	case event.RunStart, event.HostItem, event.HostRetry, event.Warning:
	}
	return w.next.Emit(e)
}

func (w *waiting) watch() {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-w.done:
			return
		case now := <-ticker.C:
			w.look(now)
		}
	}
}

// look says who is waited for, when it is time to.
func (w *waiting) look(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.since.IsZero() || now.Sub(w.at) < silence {
		return
	}
	verb, hosts := "waiting for", w.pick(func(host string) bool { return w.working[host] })
	if len(hosts) == 0 {
		verb, hosts = "still reaching", w.pick(func(host string) bool { return !w.told[host] })
	}
	if len(hosts) == 0 {
		return
	}
	every := repeatWait
	if now.Sub(w.since) > time.Minute {
		every = 3 * repeatWait
	}
	w.at = now.Add(every - silence)
	took := now.Sub(w.since).Round(time.Second)
	if said := w.says[hosts[0]]; len(hosts) == 1 && said != "" {
		w.lines.print(w.lines.talk, skip, fmt.Sprintf("  ... [%s] still: %s (%s)", hosts[0], printable.Text(said), took))
		return
	}
	more := ""
	if len(hosts) > namesShown {
		more = fmt.Sprintf(" and %d more", len(hosts)-namesShown)
		hosts = hosts[:namesShown]
	}
	w.lines.print(w.lines.talk, skip, fmt.Sprintf("  ... %s %s%s (%s)", verb, strings.Join(hosts, ", "), more, took))
}

func (w *waiting) pick(which func(host string) bool) []string {
	var picked []string
	for _, host := range w.hosts {
		if which(host) {
			picked = append(picked, printable.Text(host))
		}
	}
	return picked
}
