// SPDX-License-Identifier: MPL-2.0

package executor

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"drover/internal/event"
)

// node is a task or a block of a random play, with what becomes of it on each host.
type node struct {
	name                  string
	fails, loses          []string // hosts
	ignored               bool
	throttle              int
	block, rescue, always []*node
}

var sixHosts = []string{"h1", "h2", "h3", "h4", "h5", "h6"}

// drawTasks makes a list of one to three tasks and blocks.
func drawTasks(t *rapid.T, count *int, depth int) []*node {
	var list []*node
	for range rapid.IntRange(1, 3).Draw(t, "tasks") {
		*count++
		n := &node{name: fmt.Sprintf("t%d", *count)}
		if depth > 0 && rapid.Bool().Draw(t, "block") {
			n.block = drawTasks(t, count, depth-1)
			if rapid.Bool().Draw(t, "rescue") {
				n.rescue = drawTasks(t, count, depth-1)
			}
			if rapid.Bool().Draw(t, "always") {
				n.always = drawTasks(t, count, depth-1)
			}
		} else {
			n.fails = drawHosts(t, "fails", 5)
			n.loses = drawHosts(t, "loses", 9)
			n.ignored = rapid.IntRange(0, 5).Draw(t, "ignored") == 0
			n.throttle = rapid.IntRange(0, 3).Draw(t, "throttle")
		}
		list = append(list, n)
	}
	return list
}

// drawHosts takes one host in `rarity` on average.
func drawHosts(t *rapid.T, label string, rarity int) []string {
	var hosts []string
	for _, host := range sixHosts {
		if rapid.IntRange(1, rarity*2).Draw(t, label) == 1 {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// source writes tasks in flow style, which needs no indentation.
func source(nodes []*node) string {
	var items []string
	for _, n := range nodes {
		if n.block == nil {
			items = append(items, fmt.Sprintf("{name: %s, act: {fail: \"{{ inventory_hostname in '%v' }}\", lose: \"{{ inventory_hostname in '%v' }}\"}, ignore_errors: %v, throttle: %d}",
				n.name, n.fails, n.loses, n.ignored, max(n.throttle, 1)))
			continue
		}
		item := fmt.Sprintf("{name: %s, block: %s", n.name, source(n.block))
		if n.rescue != nil {
			item += ", rescue: " + source(n.rescue)
		}
		if n.always != nil {
			item += ", always: " + source(n.always)
		}
		items = append(items, item+"}")
	}
	return "[" + strings.Join(items, ", ") + "]"
}

// fate is how a host came out of a list of tasks.
type fate int

const (
	well fate = iota
	failed
	cutOff // unreachable
)

// hostWalk is what one host does in a play, found without any of the executor's code: the tasks that it takes, and how it
// ends. When another host stops the play after some ticks (steps and entries of blocks), only rescue and always go on.
type hostWalk struct {
	host     string
	ticks    int
	cleaning int
	trace    []string
}

const endless = 1 << 30

func expected(nodes []*node, host string, ticks int) ([]string, fate) {
	a := &hostWalk{host: host, ticks: ticks}
	end := a.list(nodes)
	return a.trace, end
}

func (a *hostWalk) list(nodes []*node) fate {
	for _, n := range nodes {
		if a.ticks--; a.ticks < 0 && a.cleaning == 0 {
			return well
		}
		if end := a.one(n); end != well {
			return end
		}
	}
	return well
}

func (a *hostWalk) one(n *node) fate {
	if n.block == nil {
		a.trace = append(a.trace, n.name)
		switch {
		case slices.Contains(n.loses, a.host):
			return cutOff
		case slices.Contains(n.fails, a.host) && !n.ignored:
			return failed
		}
		return well
	}
	end := a.list(n.block)
	a.cleaning++
	if end == failed && n.rescue != nil {
		end = a.list(n.rescue)
	}
	if end != cutOff && n.always != nil {
		if last := a.list(n.always); last != well {
			end = last
		}
	}
	a.cleaning--
	return end
}

// TestHostsStopAtTheirFirstFailure compares random plays with an account of what each host should do by itself, and checks
// that a batch with a lost host is the last one.
func TestHostsStopAtTheirFirstFailure(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		count := 0
		tasks := drawTasks(rt, &count, 2)
		serial := rapid.IntRange(1, 6).Draw(rt, "serial")
		forks := rapid.IntRange(1, 6).Draw(rt, "forks")
		w := newWorld(t, strings.Join(sixHosts, "\n")+"\n", fmt.Sprintf(
			"- {name: one, hosts: all, serial: %d, tasks: %s}\n- {name: two, hosts: all, tasks: [{name: later, act: x}]}\n", serial, source(tasks)))
		w.options.Forks = forks
		summary := w.run(t)

		want, gone := map[string][]string{}, map[fate][]string{}
		stopped := false
		for batch := range slices.Chunk(sixHosts, serial) {
			if stopped {
				break
			}
			for _, host := range batch {
				trace, end := expected(tasks, host, endless)
				want[host] = trace
				gone[end] = append(gone[end], host)
				stopped = stopped || end != well
			}
		}
		if !stopped {
			for host := range want {
				want[host] = append(want[host], "later")
			}
		}
		if diff := cmp.Diff(want, traces(w.events, event.HostStart)); diff != "" {
			rt.Errorf("steps: %s", diff)
		}
		if diff := cmp.Diff(want, traces(w.events, event.HostResult)); diff != "" {
			rt.Errorf("results: %s", diff)
		}
		if diff := cmp.Diff([][]string{gone[failed], gone[cutOff]}, [][]string{summary.Failed, summary.Unreachable}); diff != "" {
			rt.Errorf("lost hosts: %s", diff)
		}
		if stopped != (summary.Stopped != "") {
			rt.Errorf("stopped: %q", summary.Stopped)
		}
		batchesDoNotOverlap(rt, w.events, serial)
		widthIsKept(rt, w.events, tasks, forks)
	})
}

// TestStopRulesHold runs random plays with rules that stop them early, and checks that they do.
func TestStopRulesHold(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		count := 0
		tasks := drawTasks(rt, &count, 2)
		serial := rapid.IntRange(1, 6).Draw(rt, "serial")
		percent := rapid.IntRange(0, 100).Draw(rt, "percent")
		fatal := rapid.Bool().Draw(rt, "fatal")
		w := newWorld(t, strings.Join(sixHosts, "\n")+"\n", fmt.Sprintf(
			"- {name: one, hosts: all, serial: %d, max_fail_percentage: %d, any_errors_fatal: %v, tasks: %s}\n", serial, percent, fatal, source(tasks)))
		w.options.Forks = rapid.IntRange(1, 6).Draw(rt, "forks")
		summary := w.run(t)

		lost := len(summary.Failed) + len(summary.Unreachable)
		tooMany := lost*100 > percent*len(sixHosts) || fatal && lost > 0
		if tooMany && summary.Stopped == "" {
			rt.Errorf("%d of 6 lost, %d%% allowed, and not stopped", lost, percent)
		}
		if !tooMany && summary.Stopped != "" && lost < len(sixHosts) {
			rt.Errorf("%d of 6 lost, %d%% allowed, and stopped: %s", lost, percent, summary.Stopped)
		}
		for host, got := range traces(w.events, event.HostStart) {
			if !possible(tasks, host, got) {
				rt.Errorf("%s did %q, which no stop explains", host, got)
			}
		}
		batchesDoNotOverlap(rt, w.events, serial)
	})
}

// possible tells whether a host does this when the play is stopped at some moment, or not at all.
func possible(tasks []*node, host string, got []string) bool {
	for ticks := range 200 {
		if trace, _ := expected(tasks, host, ticks); slices.Equal(trace, got) {
			return true
		}
	}
	return false
}

// traces are the tasks of each host, in order.
func traces(s *events, kind event.Kind) map[string][]string {
	found := map[string][]string{}
	for _, e := range s.all {
		if e.Kind == kind {
			found[e.Host] = append(found[e.Host], e.Task)
		}
	}
	return found
}

func batchesDoNotOverlap(t *rapid.T, s *events, serial int) {
	newest := 0
	for _, e := range s.all {
		if e.Kind == event.PlayEnd {
			return
		}
		if e.Kind != event.HostStart {
			continue
		}
		batch := slices.Index(sixHosts, e.Host) / serial
		if batch < newest {
			t.Errorf("%s of batch %d begins %s after batch %d has begun", e.Host, batch, e.Task, newest)
		}
		newest = max(newest, batch)
	}
}

// widthIsKept counts the hosts between the beginning and the result of a task.
func widthIsKept(t *rapid.T, s *events, tasks []*node, forks int) {
	limits := map[string]int{"later": forks}
	var visit func(nodes []*node)
	visit = func(nodes []*node) {
		for _, n := range nodes {
			limits[n.name] = min(forks, max(n.throttle, 1))
			visit(n.block)
			visit(n.rescue)
			visit(n.always)
		}
	}
	visit(tasks)
	running := 0
	for _, e := range s.all {
		switch e.Kind {
		case event.HostStart:
			running++
		case event.HostResult:
			running--
		default:
			continue
		}
		if running > limits[e.Task] {
			t.Errorf("%s runs on %d hosts at the same time, %d are allowed", e.Task, running, limits[e.Task])
		}
	}
}
