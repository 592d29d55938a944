// SPDX-License-Identifier: MPL-2.0

package executor

import (
	"fmt"
	"slices"

	"drover/internal/event"
	"drover/internal/expression"
	"drover/playbooks"
)

// playRun is the state of one play.
type playRun struct {
	r          *run
	play       *playbooks.Play
	view       *view
	pattern    string
	serial     []any
	maxFail    *float64 // percent; nil: not given
	mayBeEmpty bool
	handlers   handlers
	once       map[*playbooks.Task]bool // run_once tasks that are done
	ended      bool                     // by end_play
	finished   map[string]bool          // hosts whose batch is over
}

func (p *playRun) run() {
	hosts, err := p.hosts()
	if err != nil {
		p.r.summary.Stopped = err.Error()
		return
	}
	p.once, p.finished = map[*playbooks.Task]bool{}, map[string]bool{}
	hosts = arrange(hosts, p.play.Order, p.r.Seed)
	p.look(hosts, hosts, nil)
	p.tell(event.PlayStart, hosts, p.emptiness(hosts))
	p.batches(hosts)
	for _, host := range hosts {
		if !p.finished[host] && p.r.gone[host] == "" && !p.ended {
			p.r.summary.NotDone = append(p.r.summary.NotDone, host)
		}
	}
	p.tell(event.PlayEnd, nil, "")
}

func (p *playRun) emptiness(hosts []string) string {
	switch {
	case len(hosts) > 0:
		return ""
	case p.mayBeEmpty:
		return "no host is in " + p.pattern + ", so there is nothing to do"
	default:
		return "no host is left under --limit, or all have failed before"
	}
}

// look replaces what tasks see of the play.
func (p *playRun) look(all, left, batch []string) {
	next := *p.view
	next.all, next.left, next.batch = all, left, batch
	p.view = &next
}

// batches runs the play batch by batch, and decides after each whether to go on.
func (p *playRun) batches(hosts []string) {
	sizes, err := batchSizes(p.serial, len(hosts))
	if err != nil {
		p.r.summary.Stopped = err.Error()
		return
	}
	remaining := hosts
	for i, size := range sizes {
		if !p.r.proceeds() || p.ended {
			return
		}
		if remaining, err = p.order(remaining); err != nil {
			p.r.summary.Stopped = fmt.Sprintf("play %q: %v", p.view.name, err)
			return
		}
		batch := remaining[:size]
		remaining = remaining[size:]
		p.look(hosts, p.left(hosts), batch)
		if len(sizes) > 1 {
			p.tell(event.BatchStart, batch, fmt.Sprintf("%d/%d", i+1, len(sizes)))
		}
		p.runBatch(batch)
		if p.r.proceeds() {
			p.decide(hosts)
		}
	}
}

// left are the hosts that have not failed.
func (p *playRun) left(hosts []string) []string {
	return slices.DeleteFunc(slices.Clone(hosts), func(host string) bool { return p.r.gone[host] != "" })
}

// decide stops the run after a batch in which hosts were lost, unless max_fail_percentage allows them.
func (p *playRun) decide(hosts []string) {
	lost := len(hosts) - len(p.left(hosts))
	switch {
	case lost == 0:
	case p.maxFail == nil:
		p.r.summary.Stopped = fmt.Sprintf("play %q: %d of %d hosts failed or were unreachable, and the play has no max_fail_percentage", p.view.name, lost, len(hosts))
	case lost == len(hosts):
		p.r.summary.Stopped = fmt.Sprintf("play %q: no host is left", p.view.name)
	}
}

// exceeded tells whether more hosts were lost than max_fail_percentage allows. As in Ansible the percentage must be
// exceeded, not reached; unlike there unreachable hosts count, and the hosts are those of the play, not of the batch.
func (p *playRun) exceeded() bool {
	if p.maxFail == nil {
		return false
	}
	hosts := p.view.all
	lost := len(hosts) - len(p.left(hosts))
	return float64(lost)*100 > *p.maxFail*float64(len(hosts))
}

// order puts the leader behind the other hosts that are left, and servers that do not vote before them, if the play asks for it.
// Leadership can move while the play runs, so this is asked before each batch.
func (p *playRun) order(remaining []string) ([]string, error) {
	if p.play.Order != leaderLast || len(remaining) < 2 {
		return remaining, nil
	}
	ordered, err := p.askOrder(remaining)
	if err != nil {
		return nil, fmt.Errorf("order: leader_last: ask who leads the cluster: %w", err)
	}
	if ordered != nil {
		return ordered, nil
	}
	known := false
	for _, host := range p.view.all {
		_, ok := p.r.leads(host)
		known = known || ok
	}
	if !known {
		return nil, fmt.Errorf("order: leader_last needs to know the leader; run nomad_facts on these hosts first")
	}
	return moveLast(remaining, func(host string) bool {
		leads, _ := p.r.leads(host)
		return leads
	}), nil
}

// askOrder asks the cluster itself; nil when that is not possible.
func (p *playRun) askOrder(hosts []string) ([]string, error) {
	if p.r.LeaderLast == nil {
		return nil, nil
	}
	become, err := p.r.newScope(p.r.hard, p.view, "", nil).boolean("become", p.play.Become, p.r.Become)
	if err != nil {
		return nil, err
	}
	return p.r.LeaderLast(p.r.hard, fleet{p.r, p.view}, p.r.Run, become, hosts)
}

// leads reads the fact nomad.leader.
func (r *run) leads(host string) (leads, known bool) {
	nomad, _ := r.store.factsOf(host).Get("nomad")
	facts, ok := nomad.(expression.Mapping)
	if !ok {
		return false, false
	}
	value, ok := facts.Get("leader")
	if !ok {
		return false, false
	}
	leads, ok = value.(bool)
	return leads, ok
}
