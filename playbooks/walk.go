// SPDX-License-Identifier: MPL-2.0

package playbooks

import (
	"context"
	"fmt"
	"iter"

	"drover/internal/expression"
)

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

// LoopItems renders a task's loop for one host; a task without a loop has none.
func (t *Task) LoopItems(ctx context.Context, scope expression.Scope, budget expression.Budget) ([]any, error) {
	if t.Loop == nil {
		return nil, nil
	}
	rendered, err := t.Loop.Render(ctx, scope, budget)
	if err != nil {
		return nil, err
	}
	list, ok := rendered.([]any)
	if !ok && !t.LoopFlatten {
		return nil, &expression.Error{
			Position: t.Loop.At, Message: fmt.Sprintf("loop must be a list, but this is %T", rendered), Hint: "wrap it in [ ] where it is one item",
		}
	}
	if !ok {
		return []any{rendered}, nil
	}
	if !t.LoopFlatten {
		return list, nil
	}
	flat := make([]any, 0, len(list))
	for _, item := range list {
		if inner, nested := item.([]any); nested {
			flat = append(flat, inner...)
		} else {
			flat = append(flat, item)
		}
	}
	return flat, nil
}
