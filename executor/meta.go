// SPDX-License-Identifier: MPL-2.0

package executor

import (
	"fmt"

	"drover/internal/modules"
	"drover/playbooks"
)

// meta does what `meta:` asks for. Its `when` is asked on every host; end_play and clear_host_errors, which concern all
// hosts, go by the first one, as in Ansible.
func (b *batchRun) meta(task *playbooks.Task, hosts []string) {
	wanting := b.wanting(task, hosts)
	first := len(wanting) > 0 && wanting[0] == hosts[0]
	switch task.Meta {
	case "flush_handlers":
		b.flush(wanting)
	case "end_host":
		b.stand(wanting, left)
	case "end_play":
		if first {
			b.ended = true
			b.stand(b.among(b.hosts, active), left)
		}
	case "clear_host_errors":
		if first {
			b.clearErrors()
		}
	}
}

// wanting are the hosts on which the conditions hold; where they cannot be evaluated the host fails.
func (b *batchRun) wanting(task *playbooks.Task, hosts []string) []string {
	var wanting []string
	for _, host := range hosts {
		yes, _, err := b.r.newScope(b.r.hard, b.view, host, task.TaskVars).holds(task.When)
		if err == nil {
			if yes {
				wanting = append(wanting, host)
			}
			continue
		}
		out := failure(fmt.Errorf("when: %w", err))
		out.host = host
		b.settle(b.metaJob(task, host), out, 0)
	}
	return wanting
}

// clearErrors makes the batch's failed and unreachable hosts active again, from the next task on.
func (b *batchRun) clearErrors() {
	for _, host := range b.hosts {
		if b.standing[host] == lost || b.standing[host] == failing {
			b.standing[host] = active
			delete(b.r.gone, host)
			b.r.warn(b.view.name, host, "%s: its errors were cleared, it takes part again", host)
		}
	}
	b.look(b.view.all, b.playRun.left(b.view.all), b.view.batch)
}

// metaJob lets a meta task fail like any other.
func (b *batchRun) metaJob(task *playbooks.Task, host string) *job {
	j := b.job(task, "meta: "+task.Meta, host)
	j.module = metaModule()
	return j
}

// metaModule stands for the executor itself where an event names a module.
func metaModule() *modules.Module {
	return &modules.Module{Name: "meta", Local: true, Check: modules.CheckReads}
}
