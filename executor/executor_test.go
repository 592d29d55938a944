// SPDX-License-Identifier: MPL-2.0

package executor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"drover/internal/event"
	"drover/internal/modules"
	"drover/playbooks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const threeHosts = "[servers]\na\nb\nc\n"

// oneTask is a play over all hosts with one task, given as a YAML flow mapping.
func oneTask(task string) string {
	return "- name: play\n  hosts: all\n  tasks: [" + task + "]\n"
}

func TestUntil(t *testing.T) {
	tests := []struct {
		name    string
		task    string
		status  event.Status
		tries   int
		took    time.Duration
		message string
	}{
		{"met at once", `{name: t, act: x, register: r, until: r is success}`, event.OK, 1, 0, "x"},
		{"defaults", `{name: t, act: {msg: x, fails: 9}, register: r, until: r is success}`, event.Failed, 3, 10 * time.Second, "x"},
		{"third try", `{name: t, act: {msg: x, fails: 2}, register: r, until: r is success, retries: 5, delay: 7}`, event.OK, 3, 14 * time.Second, "x"},
		{"retries are further tries", `{name: t, act: {msg: x, fails: 9}, register: r, until: r is success, retries: 4, delay: 1}`, event.Failed, 5, 4 * time.Second, "x"},
		{"never true though ok", `{name: t, act: {data: {n: 1}}, register: r, until: r.n > 1, retries: 1, delay: 1}`, event.Failed, 2, time.Second, "until was not met in 2 tries"},
		{"retries alone", `{name: t, act: {msg: x, fails: 1}, retries: 3, delay: 2}`, event.OK, 2, 2 * time.Second, "x"},
		{"broken condition", `{name: t, act: x, until: nothing, retries: 3}`, event.Failed, 1, 0, "until: "},
		{"unreachable ends it", `{name: t, act: {msg: x, lose: true}, register: r, until: r is success}`, event.Unreachable, 1, 0, "connection lost"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "h\n", oneTask(test.task))
				begin := time.Now()
				w.run(t)
				if took := time.Since(begin); took != test.took {
					t.Errorf("took %v, want %v", took, test.took)
				}
				last := w.events.all[len(w.events.all)-3]
				if last.Status != test.status || !strings.HasPrefix(last.Message, test.message) {
					t.Errorf("%s: %s", last.Status, last.Message)
				}
				if len(w.fleet.began) != test.tries {
					t.Errorf("%d tries, want %d", len(w.fleet.began), test.tries)
				}
				if again := w.events.messages(event.HostRetry); len(again) != test.tries-1 {
					t.Errorf("told of retries: %q", again)
				}
			})
		})
	}
}

func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "h\n", oneTask(`{name: slow, act: {takes: 3600}, timeout: 30}`))
		begin := time.Now()
		summary := w.run(t)
		if took := time.Since(begin); took != 30*time.Second {
			t.Errorf("took %v", took)
		}
		message := w.events.result(t, "slow", "h")["msg"]
		if message != "module act: the task's timeout of 30s ran out (context deadline exceeded)" {
			t.Error(message)
		}
		if diff := cmp.Diff([]string{"h"}, summary.Failed); diff != "" {
			t.Error(diff)
		}
	})
}

func TestWidth(t *testing.T) {
	tests := []struct {
		name  string
		forks int
		task  string
		width int
	}{
		{"default forks", 0, `{act: {takes: 1}}`, 5},
		{"forks", 3, `{act: {takes: 1}}`, 3},
		{"throttle", 4, `{act: {takes: 1}, throttle: 2}`, 2},
		{"throttle is not more than forks", 2, `{act: {takes: 1}, throttle: 100}`, 2},
		{"no more than hosts", 100, `{act: {takes: 1}}`, 8},
		{"run_once", 4, `{act: {takes: 1}, run_once: true}`, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "h[1:8]\n", oneTask(test.task))
				w.options.Forks = test.forks
				w.run(t)
				if w.fleet.widest != test.width {
					t.Errorf("%d at the same time, want %d", w.fleet.widest, test.width)
				}
			})
		})
	}
}

func TestPauseBetweenItems(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "h\n", oneTask(`{act: "{{ item }}", loop: [1, 2, 3], loop_control: {pause: 20}}`))
		begin := time.Now()
		w.run(t)
		if took := time.Since(begin); took != 40*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

func TestInterruptFinishesWhatIsInHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, threeHosts, `
- name: long
  hosts: all
  tasks:
    - {name: before, act: y, notify: restart}
    - {name: work, act: {msg: x, takes: 60}}
    - {name: never, act: y}
  handlers: [{name: restart, act: r}]
- name: later
  hosts: all
  tasks: [{act: y}]
`)
		w.options.Forks = 2
		ctx, interrupt := context.WithCancel(t.Context())
		go func() {
			time.Sleep(10 * time.Second)
			interrupt()
		}()
		summary, err := Run(ctx, w.options)
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"before a ok", "before b ok", "before c ok", "work a ok", "work b ok"}
		if diff := cmp.Diff(want, sortedResults(w.events)); diff != "" {
			t.Error(diff)
		}
		wantSummary := &Summary{
			Interrupted: true, NotDone: []string{"a", "b", "c"}, NotStarted: []string{"later"}, Changed: true, Recap: summary.Recap,
			Pending: []Pending{{"restart", "a"}, {"restart", "b"}, {"restart", "c"}},
		}
		if diff := cmp.Diff(wantSummary, summary); diff != "" {
			t.Error(diff)
		}
		if last := w.events.all[len(w.events.all)-1]; last.Kind != event.RunEnd || !strings.HasPrefix(last.Message, "interrupted: ") {
			t.Errorf("the last event is %s: %s", last.Kind, last.Message)
		}
	})
}

func TestInterruptEndsRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, threeHosts, oneTask(`{name: work, act: {msg: x}, until: false, retries: 1000, delay: 60}`))
		w.options.Forks = 3
		ctx, interrupt := context.WithCancel(t.Context())
		go func() {
			time.Sleep(90 * time.Second)
			interrupt()
		}()
		begin := time.Now()
		summary, err := Run(ctx, w.options)
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took != 90*time.Second || !summary.Interrupted || len(summary.Failed) != 3 {
			t.Errorf("took %v: %+v", took, summary)
		}
		if message := fmt.Sprint(w.events.result(t, "work", "a")["msg"]); !strings.Contains(message, "try 2 of 1001 was not met") {
			t.Error(message)
		}
	})
}

func TestAbortCancelsModules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, threeHosts, oneTask(`{name: work, act: {takes: 3600}}`))
		abort, cancel := context.WithCancel(t.Context())
		w.options.Abort = abort
		w.options.Forks = 3
		go func() {
			time.Sleep(10 * time.Second)
			cancel()
		}()
		begin := time.Now()
		summary := w.run(t)
		if took := time.Since(begin); took != 10*time.Second {
			t.Errorf("took %v", took)
		}
		if !summary.Aborted || !summary.Interrupted || len(summary.Failed) != 3 {
			t.Errorf("%+v", summary)
		}
		if message := fmt.Sprint(w.events.result(t, "work", "a")["msg"]); !strings.Contains(message, "the run was aborted") {
			t.Error(message)
		}
	})
}

func sortedResults(s *events) []string {
	rank := map[string]int{}
	for _, e := range s.all {
		if e.Kind == event.TaskStart && rank[e.Task] == 0 {
			rank[e.Task] = len(rank) + 1
		}
	}
	results := s.results()
	byTask := func(line string) int { task, _, _ := strings.Cut(line, " "); return rank[task] }
	for i := range results {
		for k := i; k > 0 && (byTask(results[k]) < byTask(results[k-1]) || byTask(results[k]) == byTask(results[k-1]) && results[k] < results[k-1]); k-- {
			results[k], results[k-1] = results[k-1], results[k]
		}
	}
	return results
}

// TestWhatCannotBeRecordedDoesNotHappen fails the sink at every event in turn: no module may run whose beginning was not
// recorded, and nothing may begin afterwards.
func TestWhatCannotBeRecordedDoesNotHappen(t *testing.T) {
	const playbook = `
- name: rolling
  hosts: all
  serial: 1
  tasks:
    - {name: work, act: "{{ item }}", loop: [x, y], notify: restart}
    - {name: more, act: z}
  handlers: [{name: restart, act: r}]
`
	whole := newWorld(t, threeHosts, playbook)
	whole.run(t)
	for n := range whole.events.all {
		w := newWorld(t, threeHosts, playbook)
		count, begun := 0, 0
		w.events.fail = func(e event.Event) error {
			count++
			if count > n {
				return errors.New("disk full")
			}
			if e.Kind == event.HostStart {
				begun++
			}
			return nil
		}
		summary, err := Run(t.Context(), w.options)
		if err == nil || !strings.Contains(err.Error(), "disk full") {
			t.Errorf("event %d: %v", n, err)
		}
		if summary == nil || n < len(whole.events.all)-1 && summary.Stopped == "" {
			t.Errorf("event %d: %+v", n, summary)
		}
		if len(w.fleet.began) != begun {
			t.Errorf("event %d: %d modules ran, %d were recorded: %q", n, len(w.fleet.began), begun, w.fleet.began)
		}
	}
}

func TestOneConnectionPerAccount(t *testing.T) {
	w := newWorld(t, "a ansible_host=10.0.0.1\n", `
- name: play
  hosts: a
  tasks:
    - {act: x}
    - {act: x, become: true}
    - {act: x, become: "{{ 'yes' }}"}
    - {act: x, become: true, become_user: nomad}
    - {act: {msg: x, lose: true}, ignore_unreachable: true}
    - {act: x}
`)
	w.run(t)
	want := []string{
		"a as login at 10.0.0.1", "a as root at 10.0.0.1", "a as nomad at 10.0.0.1", "a as login at 10.0.0.1",
	}
	if diff := cmp.Diff(want, w.fleet.connects); diff != "" {
		t.Error(diff)
	}
}

// TestAnotherHostIsUnreachable: a module that could not ask another host has failed; its own host is there.
func TestAnotherHostIsUnreachable(t *testing.T) {
	w := newWorld(t, "a\nb\n", oneTask(`{name: ask, act: {blame: b}, when: inventory_hostname == 'a'}`))
	summary := w.run(t)
	if diff := cmp.Diff([][]string{{"a"}, nil}, [][]string{summary.Failed, summary.Unreachable}); diff != "" {
		t.Error(diff)
	}
}

// TestPanic: a mistake in a module fails its host, and no_log holds for what it says.
func TestPanic(t *testing.T) {
	w := newWorld(t, "a\nb\n", oneTask(`{name: work, act: {panic: "{{ inventory_hostname == 'a' }}"}}`))
	if diff := cmp.Diff([]string{"a"}, w.run(t).Failed); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"work a failed", "work b ok"}, w.events.results()); diff != "" {
		t.Error(diff)
	}
}

func TestBrokenConnectionVariable(t *testing.T) {
	w := newWorld(t, `a ansible_host="{{ 1 + 'x' }}"`+"\n", oneTask(`{name: work, act: x}`))
	w.run(t)
	message := fmt.Sprint(w.events.result(t, "work", "a")["msg"])
	if !strings.Contains(message, "variable ansible_host of a") {
		t.Error(message)
	}
	if len(w.fleet.began) > 0 {
		t.Error("the module ran")
	}
}

func TestFleet(t *testing.T) {
	w := newWorld(t, "[g]\nb x=\"{{ base }}1\" base=2\na\n", `
- name: play
  hosts: b:a
  vars: {p: "play {{ inventory_hostname }}"}
  tasks:
    - {name: fact, act: {facts: {f: 1}}}
    - {name: x, act: {ask: b.x}}
    - {name: p, act: {ask: b.p}}
    - {name: f, act: {ask: b.f}}
    - {name: none, act: {ask: b.none}}
    - {name: nobody, act: {ask: z.x}}
`)
	w.run(t)
	want := map[string]any{"x": int64(21), "p": "play b", "f": int64(1), "none": nil, "nobody": nil}
	for task, value := range want {
		got := w.events.result(t, task, "a")["answer"]
		if task == "x" {
			got = fmt.Sprint(got)
			value = "21"
		}
		if diff := cmp.Diff(value, got); diff != "" {
			t.Errorf("%s: %s", task, diff)
		}
	}
	f := fleet{run: &run{store: newStore(w.options.Inventory)}}
	if diff := cmp.Diff([]string{"b", "a"}, f.Names("all")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{}, f.Names("none")); diff != "" {
		t.Error(diff)
	}
}

// TestLeaderMoves asks for the leader before each batch: it moves from a to b after the first one.
func TestLeaderMoves(t *testing.T) {
	w := newWorld(t, threeHosts, "- name: play\n  hosts: all\n  serial: 1\n  order: leader_last\n  tasks: [{name: t, act: x}]\n")
	leaders := []string{"a", "b", "b"}
	w.options.LeaderLast = func(_ context.Context, _ modules.Fleet, run modules.Run, _ bool, hosts []string) ([]string, error) {
		if run.Sightings == nil {
			t.Error("what the run has seen of hosts that are left out is not handed on")
		}
		leader := leaders[0]
		leaders = leaders[1:]
		return moveLast(hosts, func(host string) bool { return host == leader }), nil
	}
	w.run(t)
	if diff := cmp.Diff([]string{"t b ok", "t c ok", "t a ok"}, w.events.results()); diff != "" {
		t.Error(diff)
	}
	leaders = []string{"b", "c", "a"}
	w.events.all = nil
	w.run(t)
	if diff := cmp.Diff([]string{"t a ok", "t b ok", "t c ok"}, w.events.results()); diff != "" {
		t.Error(diff)
	}
	w.options.LeaderLast = func(context.Context, modules.Fleet, modules.Run, bool, []string) ([]string, error) {
		return nil, errors.New("no answer")
	}
	w.events.all = nil
	if summary := w.run(t); !strings.Contains(summary.Stopped, "no answer") || len(w.events.results()) > 0 {
		t.Error(summary)
	}
}

func TestEventsAreWhole(t *testing.T) {
	w := newWorld(t, "a\n", oneTask(`{name: big, act: {msg: "`+strings.Repeat("x", 70_000)+`", data: {list: [1, {deep: "y"}]}}, diff: true}`))
	w.run(t)
	var kinds []string
	for _, e := range w.events.all {
		kinds = append(kinds, string(e.Kind))
		if e.Run != "run-1" || e.Version != 1 || e.Time.IsZero() {
			t.Errorf("%s lacks run, version or time", e.Kind)
		}
		if len(e.Message) > maxText+100 {
			t.Errorf("%s has a message of %d bytes", e.Kind, len(e.Message))
		}
		if e.Kind == event.HostStart || e.Kind == event.HostResult {
			if e.Module != "act" || e.Task != "big" || e.Host != "a" || e.Play != "play" || !strings.HasSuffix(e.File, "play.yml:3") {
				t.Errorf("%+v", e)
			}
		}
		if _, err := json.Marshal(e); err != nil {
			t.Error(err)
		}
	}
	want := []string{"run_start", "play_start", "task_start", "host_start", "host_result", "play_end", "run_end"}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Error(diff)
	}
}

func withOrder(book *playbooks.Playbook, order string) *playbooks.Playbook {
	play := *book.Plays[0]
	play.Order = order
	return &playbooks.Playbook{File: book.File, Plays: []*playbooks.Play{&play}}
}

func TestOptionsAreChecked(t *testing.T) {
	w := newWorld(t, "a\n", oneTask("{act: x}"))
	tests := []struct {
		name   string
		change func(*Options)
		want   string
	}{
		{"nothing", func(o *Options) { *o = Options{} }, "no playbook given\nno inventory given\nno connector given\nno sink for events given"},
		{"forks", func(o *Options) { o.Forks = -1 }, "forks must be at least 1, not -1"},
		{"limit", func(o *Options) { o.Limit = "zz" }, "--limit: "},
		{"no plays", func(o *Options) { o.Playbook = &playbooks.Playbook{File: "empty.yml"} }, "empty.yml has no plays"},
		{"order", func(o *Options) { o.Playbook = withOrder(o.Playbook, "random") }, `order "random" is unknown`},
	}
	for _, test := range tests {
		options := w.options
		test.change(&options)
		summary, err := Run(t.Context(), options)
		if err == nil || !strings.Contains(err.Error(), test.want) || summary != nil {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}
