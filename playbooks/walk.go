// SPDX-License-Identifier: MPL-2.0

package playbooks

import "iter"

// everyTask visits tasks and, inside of blocks, their tasks; not the blocks themselves.
func everyTask(tasks []*Task) iter.Seq[*Task] {
	return func(yield func(*Task) bool) { visit(tasks, yield) }
}

func visit(tasks []*Task, yield func(*Task) bool) bool {
	for _, task := range tasks {
		if task.Block == nil {
			if !yield(task) {
				return false
			}
			continue
		}
		for _, list := range [][]*Task{task.Block, task.Rescue, task.Always} {
			if !visit(list, yield) {
				return false
			}
		}
	}
	return true
}

// TaskName returns what a task is called in listings and on the screen: its name as it was written, else its module.
func (t *Task) TaskName() string {
	switch {
	case t.Name.Text() != "":
		return t.Name.Text()
	case t.Meta != "":
		return "meta: " + t.Meta
	case t.Block != nil:
		return "block"
	}
	return t.Called
}

// PlayName returns what a play is called: its name as it was written, else its hosts.
func (p *Play) PlayName() string {
	if p.Name.Text() != "" {
		return p.Name.Text()
	}
	if p.Hosts == nil {
		return ""
	}
	if p.Hosts.Form != FormList {
		return p.Hosts.Text()
	}
	name := ""
	for i, host := range p.Hosts.Items {
		if i > 0 {
			name += ","
		}
		name += host.Text()
	}
	return name
}
