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
