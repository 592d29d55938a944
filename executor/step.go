// SPDX-License-Identifier: MPL-2.0

package executor

import (
	"fmt"
	"math"
	"time"

	"drover/internal/event"
	"drover/internal/expression"
	"drover/playbooks"
)

func sentence(play, host string, how event.Status, why string) string {
	return fmt.Sprintf("play %q: %s %s, and %s", play, host, map[event.Status]string{
		event.Failed: "failed", event.Unreachable: "is unreachable",
	}[how], why)
}

// taskName is the task's name as the first host renders it; a name that cannot be rendered is shown as it is written.
func (b *batchRun) taskName(task *playbooks.Task, host string) string {
	if task.Name == nil {
		return task.Called
	}
	name, err := b.r.newScope(b.r.hard, b.view, host, task.TaskVars).text("name", task.Name)
	if err != nil && task.Name.Form == playbooks.FormTemplate {
		return task.Name.Template.Source()
	}
	return name
}

// step runs one task on hosts.
func (b *batchRun) step(task *playbooks.Task, hosts []string) {
	name := b.taskName(task, hosts[0])
	s := b.r.newScope(b.r.hard, b.view, hosts[0], task.TaskVars)
	throttle, throttleErr := s.number("throttle", task.Throttle, 0)
	once, onceErr := s.boolean("run_once", task.RunOnce, false)
	if once && b.once[task] {
		return
	}
	err := b.r.emit(event.Event{Kind: event.TaskStart, Play: b.view.name, Task: name, Module: task.Module.Name, File: place(task)})
	if err != nil {
		return
	}
	for _, err := range []error{throttleErr, onceErr} {
		if err != nil {
			b.refuse(task, name, hosts, err)
			return
		}
	}
	width := b.r.forks()
	if throttle > 0 {
		width = int(max(1, math.Min(float64(width), throttle)))
	}
	if once {
		b.runOnce(task, name, hosts)
		return
	}
	b.dispatch(task, name, hosts, width)
}

// refuse fails a task on every host without beginning it.
func (b *batchRun) refuse(task *playbooks.Task, name string, hosts []string, err error) {
	for _, host := range hosts {
		out := failure(err)
		out.host = host
		b.settle(b.job(task, name, host), out, 0)
	}
}

func (b *batchRun) job(task *playbooks.Task, name, host string) *job {
	return &job{
		run: b.r, play: b.playRun, view: b.view, task: task, module: task.Module, name: name, host: host,
		scope: b.r.newScope(b.r.hard, b.view, host, task.TaskVars),
	}
}

// done is what a host's goroutine reports.
type done struct {
	job     *job
	outcome *outcome
	took    time.Duration
}

// dispatch runs a task on hosts, at most width at a time, and takes in what comes of it. When the play is stopped
// meanwhile, those that have not begun do not begin.
func (b *batchRun) dispatch(task *playbooks.Task, name string, hosts []string, width int) {
	results := make(chan done)
	running := 0
	for waiting := hosts; ; {
		for running < width && len(waiting) > 0 && b.mayStart() {
			j := b.job(task, name, waiting[0])
			waiting = waiting[1:]
			running++
			go func() {
				begin := time.Now()
				out := j.do()
				results <- done{j, out, time.Since(begin)}
			}()
		}
		if running == 0 {
			return
		}
		d := <-results
		running--
		b.settle(d.job, d.outcome, d.took)
	}
}

// runOnce runs a task on the first host and gives what it learned to all hosts of the play. Its failure is the failure of all:
// inside of a block with a rescue every host of the batch goes to the rescue, elsewhere the play stops.
func (b *batchRun) runOnce(task *playbooks.Task, name string, hosts []string) {
	b.once[task] = true
	j := b.job(task, name, hosts[0])
	begin := time.Now()
	out := j.do()
	b.settle(j, out, time.Since(begin))
	for _, host := range b.view.all {
		if host != out.host {
			b.learn(task, host, out)
		}
	}
	switch {
	case !out.fails():
	case b.protected > 0:
		for _, host := range hosts[1:] {
			b.fail(j, host, out)
		}
	case b.stopped == "":
		b.stopped = sentence(b.view.name, out.host, out.status, "the task runs once for all hosts")
	}
}

// settle takes in the outcome of a task on a host: variables, groups, notifications, the recap, the event, and where the host
// stands from now on.
func (b *batchRun) settle(j *job, out *outcome, took time.Duration) {
	if err := b.r.store.join(out.host, out.groups); err != nil && !out.bad() {
		out.setFailed(true, err.Error())
	}
	keepNamed(b.r.record.secrets, out.data)
	b.learn(j.task, out.host, out)
	for _, name := range out.notify {
		b.handlers.notify(name, out.host)
	}
	b.count(out)
	e := out.event(event.HostResult)
	e.Seconds = took.Seconds()
	_ = j.emit(e) // the recorder stops the run when this fails
	if out.refused && out.fails() {
		b.r.summary.Refused = append(b.r.summary.Refused, out.host)
	}
	switch {
	case !out.fails():
	case out.status == event.Unreachable:
		b.lose(out.host, event.Unreachable)
	default:
		b.fail(j, out.host, out)
	}
}

// fail marks a failed host: within a block that has a rescue it waits for that, else it is lost.
func (b *batchRun) fail(j *job, host string, out *outcome) {
	b.r.store.assign(host, expression.MapOf(
		"ansible_failed_task", expression.MapOf("name", j.name, "action", j.module.Name),
		"ansible_failed_result", out.data,
	))
	if b.protected > 0 {
		b.standing[host] = failing
		return
	}
	b.lose(host, event.Failed)
}

// learn keeps what a task found out about a host.
func (b *batchRun) learn(task *playbooks.Task, host string, out *outcome) {
	b.r.store.addFacts(host, out.facts)
	b.r.store.assign(host, out.set)
	if task.Register != "" {
		registered := expression.NewMap()
		registered.Set(task.Register, out.data)
		b.r.store.assign(host, registered)
	}
}

// count adds to the recap, as Ansible does: an ignored failure is ok too, a failure that a rescue will take up is rescued.
func (b *batchRun) count(out *outcome) {
	t := b.r.tally(out.host)
	if out.changed && !out.fails() {
		t.Changed++
	}
	switch {
	case out.ignored && out.bad():
		t.OK++
		t.Ignored++
	case out.status == event.Unreachable:
		t.Unreachable++
	case out.status == event.Failed && b.protected > 0:
		t.Rescued++
	case out.status == event.Failed:
		t.Failed++
	case out.status == event.Skipped:
		t.Skipped++
	default:
		t.OK++
	}
}
