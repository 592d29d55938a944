// SPDX-License-Identifier: MPL-2.0

package playbooks

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"drover/internal/expression"
)

// dump writes what the executor would see of a playbook, one field per line.
func dump(playbook *Playbook) string {
	d := &dumper{}
	for _, play := range playbook.Plays {
		d.play(play)
	}
	return d.String()
}

type dumper struct {
	strings.Builder
	indent int
}

func (d *dumper) line(format string, args ...any) {
	d.WriteString(strings.Repeat("  ", d.indent))
	fmt.Fprintf(d, format+"\n", args...)
}

func (d *dumper) value(name string, v *Value) {
	if v != nil {
		d.line("%s = %s", name, show(v))
	}
}

func (d *dumper) values(name string, list []*Value) {
	if len(list) > 0 {
		d.line("%s = %s", name, show(&Value{Form: FormList, Items: list}))
	}
}

func (d *dumper) expressions(name string, list []*expression.Expression) {
	for _, e := range list {
		d.line("%s: %s", name, e.Source())
	}
}

func show(v *Value) string {
	var parts []string
	switch v.Form {
	case FormTemplate:
		return "template " + fmt.Sprintf("%q", v.Template.Source())
	case FormList:
		for _, item := range v.Items {
			parts = append(parts, show(item))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case FormDict:
		for _, pair := range v.Pairs {
			parts = append(parts, pair.Key+": "+show(pair.Value))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	return fmt.Sprintf("%T %#v", v.Static, v.Static)
}

func (d *dumper) play(play *Play) {
	d.line("play %q at %d:%d", playName(play), play.At.Line, play.At.Column)
	d.indent++
	defer func() { d.indent-- }()
	d.value("hosts", play.Hosts)
	d.values("serial", play.Serial)
	d.line("order %s", play.Order)
	d.value("max_fail_percentage", play.MaxFailPercentage)
	if play.AnyErrorsFatal || play.ForceHandlers {
		d.line("any_errors_fatal %t, force_handlers %t", play.AnyErrorsFatal, play.ForceHandlers)
	}
	d.value("vars", play.Vars)
	d.values("vars_files", play.VarsFiles)
	d.inherited(&play.Inherited)
	d.tasks("pre_tasks", play.PreTasks)
	d.tasks("tasks", play.Tasks)
	d.tasks("post_tasks", play.PostTasks)
	d.tasks("handlers", play.Handlers)
}

func (d *dumper) inherited(in *Inherited) {
	d.value("become", in.Become)
	d.value("become_user", in.BecomeUser)
	d.value("remote_user", in.RemoteUser)
	d.value("environment", in.Environment)
	if len(in.Tags) > 0 {
		d.line("tags %s", strings.Join(in.Tags, " "))
	}
	d.expressions("when", in.When)
	d.value("ignore_errors", in.IgnoreErrors)
	d.value("ignore_unreachable", in.IgnoreUnreachable)
	d.value("no_log", in.NoLog)
	d.value("check_mode", in.CheckMode)
	d.value("diff", in.Diff)
	d.value("throttle", in.Throttle)
	d.value("timeout", in.Timeout)
	d.value("run_once", in.RunOnce)
	d.value("delegate_to", in.DelegateTo)
	d.values("vars of tasks", in.TaskVars)
}

func (d *dumper) tasks(name string, tasks []*Task) {
	if tasks == nil {
		return
	}
	d.line("%s", name)
	d.indent++
	defer func() { d.indent-- }()
	for _, task := range tasks {
		d.task(task)
	}
}

func (d *dumper) task(task *Task) {
	d.line("%q at %d:%d", taskName(task), task.At.Line, task.At.Column)
	d.indent++
	defer func() { d.indent-- }()
	if task.Module != nil {
		d.line("module %s, written %s", task.Module.Name, task.Called)
	}
	for _, name := range slices.Sorted(maps.Keys(task.Args)) {
		d.value("  "+name, task.Args[name])
	}
	d.value("all arguments", task.ArgsAll)
	d.value("loop", task.Loop)
	if task.LoopFlatten {
		d.line("flatten")
	}
	if c := task.LoopControl; c != (LoopControl{}) {
		d.line("loop_var %q index_var %q", c.LoopVar, c.IndexVar)
		d.value("label", c.Label)
		d.value("pause", c.Pause)
	}
	if task.Register != "" {
		d.line("register %s", task.Register)
	}
	d.expressions("until", task.Until)
	d.value("retries", task.Retries)
	d.value("delay", task.Delay)
	d.expressions("changed_when", task.ChangedWhen)
	d.expressions("failed_when", task.FailedWhen)
	d.values("notify", task.Notify)
	if len(task.Listen) > 0 {
		d.line("listen %s", strings.Join(task.Listen, " "))
	}
	d.inherited(&task.Inherited)
	d.tasks("block", task.Block)
	d.tasks("rescue", task.Rescue)
	d.tasks("always", task.Always)
}

func taskName(t *Task) string {
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

func playName(p *Play) string {
	switch {
	case p.Name.Text() != "":
		return p.Name.Text()
	case p.Hosts == nil:
		return ""
	case p.Hosts.Form != FormList:
		return p.Hosts.Text()
	}
	names := make([]string, len(p.Hosts.Items))
	for i, host := range p.Hosts.Items {
		names[i] = host.Text()
	}
	return strings.Join(names, ",")
}
