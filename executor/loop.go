// SPDX-License-Identifier: MPL-2.0

package executor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"drover/internal/event"
	"drover/internal/expression"
	"drover/internal/wait"
)

// maxLabel bounds the label of a loop's item, in bytes.
const maxLabel = 200

// loop runs the task for every item, also after one has failed, as Ansible does.
func (j *job) loop() *outcome {
	items, err := j.items()
	if err != nil {
		return j.withoutItems(err)
	}
	all := &looped{results: []any{}}
	learned := map[string]any{}
	for i, value := range items {
		if i > 0 {
			if err := j.pause(); err != nil {
				return failure(err)
			}
		}
		s := j.scope.with(learned).with(j.itemVars(items, i))
		out := j.item(s, j.label(s, value))
		all.add(out, j.loopVar(), value)
		if err := j.emit(out.event(event.HostItem)); err != nil {
			return failure(fmt.Errorf("stopped, because it could not be recorded: %w", err))
		}
		if out.status == event.Unreachable || j.run.hard.Err() != nil {
			break
		}
		for _, variables := range []*expression.Map{out.facts, out.set} {
			for name, value := range variables.All() {
				learned[name] = value
			}
		}
	}
	return all.outcome(len(items))
}

// items renders the loop's list.
func (j *job) items() ([]any, error) {
	value, err := j.scope.render(j.task.Loop)
	if err != nil {
		return nil, err
	}
	list, ok := value.([]any)
	if !ok {
		return nil, fmt.Errorf("%s: loop: needs a list, not %v", j.task.Loop.At, value)
	}
	if !j.task.LoopFlatten {
		return list, nil
	}
	var flat []any
	for _, item := range list {
		if inner, ok := item.([]any); ok {
			flat = append(flat, inner...)
		} else {
			flat = append(flat, item)
		}
	}
	return flat, nil
}

// withoutItems is the outcome when the list cannot be rendered: when `when` is false without it, the task is skipped, so
// that `when: x is defined` can guard a loop over x.
func (j *job) withoutItems(cause error) *outcome {
	out := failure(fmt.Errorf("loop: %w", cause))
	out.hidden = j.secretive()
	if _, undefined := expression.IsUndefined(cause); !undefined {
		return out
	}
	if yes, condition, err := j.scope.holds(j.task.When); err == nil && !yes {
		out = skipped("Conditional result was False")
		out.message = ""
		out.put("false_condition", condition)
	}
	return out
}

func (j *job) loopVar() string {
	if j.task.LoopControl.LoopVar != "" {
		return j.task.LoopControl.LoopVar
	}
	return "item"
}

func (j *job) itemVars(items []any, i int) map[string]any {
	about := expression.MapOf(
		"index", i+1, "index0", i, "first", i == 0, "last", i == len(items)-1,
		"length", len(items), "revindex", len(items)-i, "revindex0", len(items)-i-1,
	)
	about.Set("allitems", items)
	if i > 0 {
		about.Set("previtem", items[i-1])
	}
	if i+1 < len(items) {
		about.Set("nextitem", items[i+1])
	}
	variables := map[string]any{j.loopVar(): items[i], "ansible_loop": about, "ansible_loop_var": j.loopVar()}
	if name := j.task.LoopControl.IndexVar; name != "" {
		variables[name] = int64(i)
	}
	return variables
}

func (j *job) label(s *scope, item any) string {
	if label, given, err := s.optional(j.task.LoopControl.Label); err == nil && given {
		item = label
	}
	text, ok := item.(string)
	if !ok {
		encoded, err := json.Marshal(item)
		if err != nil {
			return err.Error()
		}
		text = string(encoded)
	}
	text = j.run.record.secrets.Clean(text) // before it is cut: half a secret would not be found
	if len(text) > maxLabel {
		text = strings.ToValidUTF8(text[:maxLabel], "") + "..."
	}
	return text
}

// pause waits between two items.
func (j *job) pause() error {
	number, err := j.scope.number("pause", j.task.LoopControl.Pause, 0)
	if err != nil {
		return err
	}
	if wait.For(j.run.hard, seconds(number)) != nil {
		return context.Cause(j.run.hard)
	}
	return nil
}

// looped gathers the outcomes of a loop's items.
type looped struct {
	results []any
	all     []*outcome
}

func (l *looped) add(out *outcome, loopVar string, item any) {
	result := expression.MapOf("ansible_loop_var", loopVar)
	for key, value := range out.data.All() {
		result.Set(key, value)
	}
	result.Set(loopVar, item)
	if loopVar != "item" && out.item != "" {
		result.Set("_ansible_item_label", out.item)
	}
	l.results = append(l.results, result)
	l.all = append(l.all, out)
}

// outcome sums a loop up: it has failed when an item has, and is skipped when all are.
func (l *looped) outcome(items int) *outcome {
	sum := &outcome{status: event.Skipped, data: expression.NewMap(), facts: expression.NewMap(), set: expression.NewMap(), ignored: true, items: l.results}
	for _, out := range l.all {
		sum.merge(out)
	}
	sum.ignored = sum.ignored && sum.bad()
	switch {
	case items == 0:
		sum.put("skipped_reason", "No items in the list")
	case sum.status == event.Skipped:
		sum.put("msg", "All items skipped")
	case sum.bad():
		sum.message = "One or more items failed"
	default:
		sum.put("msg", "All items completed")
	}
	if sum.bad() {
		sum.put("msg", sum.message)
	}
	sum.put("changed", sum.changed)
	sum.put("failed", sum.status == event.Failed)
	if sum.status == event.Skipped {
		sum.put("skipped", true)
	}
	if sum.status == event.Unreachable {
		sum.put("unreachable", true)
	}
	sum.put("results", l.results)
	return sum
}

func (o *outcome) merge(item *outcome) {
	rank := map[event.Status]int{event.Skipped: 0, event.OK: 1, event.Failed: 2, event.Unreachable: 3}
	if rank[item.status] > rank[o.status] {
		o.status = item.status
	}
	o.changed = o.changed || item.changed
	o.refused = o.refused || item.refused
	o.hidden = o.hidden || item.hidden
	o.private = o.private || item.private
	if item.bad() && !item.ignored {
		o.ignored = false
	}
	if item.delegate != "" {
		o.delegate = item.delegate
	}
	for name, value := range item.facts.All() {
		o.facts.Set(name, value)
	}
	for name, value := range item.set.All() {
		o.set.Set(name, value)
	}
	o.groups = append(o.groups, item.groups...)
	o.notify = append(o.notify, item.notify...)
}

// errAborted is the cause of everything that ends because the person pressed Ctrl-C twice.
var errAborted = errors.New("the run was aborted")
