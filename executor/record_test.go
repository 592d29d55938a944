// SPDX-License-Identifier: MPL-2.0

package executor

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"drover/internal/event"
)

// disk keeps events and notes what has begun on hosts when it is asked to have them on disk.
type disk struct {
	*events
	fleet   *memoryFleet
	commits []string // kind, host, and how many tasks had begun by then
	full    func(commits int) error
}

func (d *disk) Commit() error {
	last := d.all[len(d.all)-1]
	d.fleet.mu.Lock()
	defer d.fleet.mu.Unlock()
	d.commits = append(d.commits, strings.TrimSpace(string(last.Kind)+" "+last.Host+" "+strings.Repeat("+", len(d.fleet.began))))
	if d.full != nil {
		return d.full(len(d.commits))
	}
	return nil
}

const twoTasks = `
- hosts: all
  tasks:
    - act: one
    - act: two
      until: false
      retries: 1
      delay: 0
      ignore_errors: true
`

// Law 7: what a task may change is on disk before the task begins, and each further try.
func TestOnDiskBeforeATaskBegins(t *testing.T) {
	w := newWorld(t, "a\nb\n", twoTasks)
	d := &disk{events: w.events, fleet: w.fleet}
	w.options.Sink = d
	w.run(t)
	want := []string{
		"run_start", "host_start a", "host_start b +",
		"host_start a ++", "host_retry a +++", "host_start b ++++", "host_retry b +++++", "run_end  ++++++",
	}
	if diff := cmp.Diff(want, d.commits); diff != "" {
		t.Error(diff)
	}
}

func TestNothingBeginsOnceTheDiskIsFull(t *testing.T) {
	for _, test := range []struct {
		name  string
		after int // commits
		began []string
	}{
		{"at the start", 0, nil},
		{"before the first host", 1, nil},
		{"before the second host", 2, []string{"a one"}},
		{"before the second task", 3, []string{"a one", "b one"}},
		{"before the second try", 4, []string{"a one", "b one", "a two"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, "a\nb\n", twoTasks)
			w.options.Sink = &disk{events: w.events, fleet: w.fleet, full: func(commits int) error {
				if commits > test.after {
					return errors.New("no space left on device")
				}
				return nil
			}}
			summary, err := Run(t.Context(), w.options)
			if err == nil || !strings.Contains(err.Error(), "no space left on device") {
				t.Fatalf("%v", err)
			}
			if diff := cmp.Diff(test.began, w.fleet.began); diff != "" {
				t.Error(diff)
			}
			if !strings.Contains(summary.Stopped, "no space left on device") || summary.Outcome() != event.Broken {
				t.Errorf("stopped %q, %s", summary.Stopped, summary.Outcome())
			}
			if !slices.ContainsFunc(w.events.all, func(e event.Event) bool { return e.Kind == event.RunEnd }) {
				t.Error("a screen is not told of the end")
			}
		})
	}
}

// Secrets that turn up only while the run goes on are hidden from then on.
func TestSecretsThatAreFoundOnTheWay(t *testing.T) {
	w := newWorld(t, "a db_password=sesame-inventory\n", `
- hosts: all
  vars: {api_token: sesame-play, late_token: "{{ 'sesame' }}-late"}
  tasks:
    - act: {msg: "{{ db_password }} {{ api_token }}", data: {password: "sesame-{{ 'data' }}", list: [{token: "sesame-{{ 'deep' }}"}], short_secret: "x{{ 1 }}y"}}
      register: got
    - act: {msg: "{{ got.password }} {{ got.list.0.token }}"}
    - act: {ask: a.late_token}
    - set_fact: {other_secret: "sesame-{{ 'fact' }}"}
    - act: {msg: "{{ other_secret }}", diff: "+ {{ other_secret }}"}
      loop: ["{{ other_secret }}", "{{ 'x' * 190 }}{{ other_secret }}"]
`)
	w.options.Diff = true
	w.run(t)
	for _, e := range w.events.all {
		text := strings.Join([]string{e.Message, e.Item, e.Diff, e.Task}, " ")
		if e.Result != nil {
			encoded, err := e.Result.(interface{ MarshalJSON() ([]byte, error) }).MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			text += string(encoded)
		}
		if strings.Contains(text, "sesa") || strings.Contains(text, "x1y") {
			t.Errorf("%s %s: %s", e.Kind, e.Task, text)
		}
	}
}
