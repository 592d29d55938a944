// SPDX-License-Identifier: MPL-2.0

package executor

import (
	"slices"

	"drover/internal/event"
	"drover/playbooks"
)

// standing is how a host of the current batch stands.
type standing int

const (
	active  standing = iota
	failing          // failed in a block that has a rescue, which has not run yet
	lost             // failed for good, or unreachable
	left             // by end_host or end_play
)

// batchRun walks one batch of hosts through the play. Only the goroutine of the run touches it.
type batchRun struct {
	*playRun
	hosts     []string
	standing  map[string]standing
	protected int    // how many of the blocks we are in have a rescue
	cleaning  int    // how many always sections we are in, which run even when the play has been stopped
	stopped   string // why the batch was stopped at once; "": it was not
}

// runBatch runs all sections for one batch, each followed by the handlers that it notified.
func (p *playRun) runBatch(hosts []string) {
	b := &batchRun{playRun: p, hosts: hosts, standing: map[string]standing{}}
	for _, section := range [][]*playbooks.Task{p.play.PreTasks, p.play.Tasks, p.play.PostTasks} {
		b.tasks(section, hosts)
		if b.stopped == "" || b.forced() {
			b.flush(hosts)
		}
	}
	for _, host := range hosts {
		if b.standing[host] == left || b.standing[host] == active && b.stopped == "" && b.r.soft.Err() == nil {
			p.finished[host] = true
		}
	}
	b.reportPending(hosts)
	if b.stopped != "" && p.r.summary.Stopped == "" {
		p.r.summary.Stopped = b.stopped
	}
}

// mayStart tells whether a further step may begin on an active host.
func (b *batchRun) mayStart() bool {
	return b.r.soft.Err() == nil && (b.stopped == "" || b.cleaning > 0)
}

// among are the hosts that can take a step.
func (b *batchRun) among(hosts []string, want standing) []string {
	return slices.DeleteFunc(slices.Clone(hosts), func(host string) bool { return b.standing[host] != want })
}

// tasks runs a list of tasks, one after the other, on those of the hosts that are active. It reports whether it came to
// the end of the list.
func (b *batchRun) tasks(tasks []*playbooks.Task, hosts []string) bool {
	for _, task := range tasks {
		able := b.among(hosts, active)
		if len(able) == 0 {
			return true
		}
		if !b.mayStart() {
			return false
		}
		switch {
		case task.Block != nil:
			b.block(task, able)
		case !b.wanted(task):
		case task.Meta != "":
			b.meta(task, able)
		default:
			b.step(task, able)
		}
	}
	return true
}

// wanted tells whether tags and StartAt choose the task.
func (b *batchRun) wanted(task *playbooks.Task) bool {
	if !b.r.started {
		if task.Name == nil || b.taskName(task, b.hosts[0]) != b.r.StartAt {
			return false
		}
		b.r.started = true
	}
	return chosen(task.Tags, b.r.Tags, b.r.SkipTags)
}

// block runs a block: its tasks; on the hosts on which one of them failed the rescue, which makes up for the failure when
// it ends well; and at last always on all hosts that can be reached, whatever has happened.
func (b *batchRun) block(block *playbooks.Task, hosts []string) {
	if len(block.Rescue) > 0 {
		b.protected++
	}
	b.tasks(block.Block, hosts)
	if len(block.Rescue) > 0 {
		b.protected--
		b.rescue(block.Rescue, b.among(hosts, failing))
	}
	if len(block.Always) > 0 {
		b.always(block.Always, hosts)
	}
}

// rescue runs also when the play was stopped by another host: it brings this one into order.
func (b *batchRun) rescue(tasks []*playbooks.Task, hosts []string) {
	b.stand(hosts, active)
	b.cleaning++
	if !b.tasks(tasks, hosts) {
		b.abandon(hosts)
	}
	b.cleaning--
}

// abandon takes up the failures of hosts whose rescue could not run to its end, because the run was stopped.
func (b *batchRun) abandon(hosts []string) {
	for _, host := range b.among(hosts, active) {
		b.lose(host, event.Failed)
	}
}

// always runs the always section of a block. A host that had failed before stays failed.
func (b *batchRun) always(tasks []*playbooks.Task, hosts []string) {
	before := map[string]standing{}
	var able []string
	for _, host := range hosts {
		before[host] = b.standing[host]
		if before[host] != left && b.r.gone[host] != event.Unreachable {
			able = append(able, host)
		}
	}
	b.stand(able, active)
	b.cleaning++
	b.tasks(tasks, able)
	b.cleaning--
	for _, host := range able {
		if b.standing[host] == active {
			b.standing[host] = before[host]
		}
	}
}

func (b *batchRun) stand(hosts []string, as standing) {
	for _, host := range hosts {
		b.standing[host] = as
	}
}

// lose takes a host out of the run, and stops the batch where the play's rules say so.
func (b *batchRun) lose(host string, how event.Status) {
	b.standing[host] = lost
	if b.r.gone[host] != event.Unreachable {
		b.r.gone[host] = how
	}
	b.look(b.view.all, b.playRun.left(b.view.all), b.view.batch)
	switch {
	case b.stopped != "":
	case b.play.AnyErrorsFatal:
		b.stopped = sentence(b.view.name, host, how, "any_errors_fatal is set")
	case b.exceeded():
		b.stopped = sentence(b.view.name, host, how, "more hosts were lost than max_fail_percentage allows")
	}
}
