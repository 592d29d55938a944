// SPDX-License-Identifier: MPL-2.0

package playbooks

import (
	"slices"
	"strings"

	"drover/internal/modules"
	"drover/internal/nearest"
	"drover/internal/yaml"
)

// steps reads a list of tasks and blocks.
func (p *parser) steps(e entry, where place, parent lineage) []*Task {
	if e.value.IsNull() {
		return nil
	}
	if e.value.Kind != yaml.Sequence {
		p.refuse(e.value.Position, "begin each with `- `", "%s must be a list of tasks, not %s", e.name, e.value.Describe())
		return nil
	}
	if parent.depth > maxDepth {
		p.refuse(e.value.Position, "", "blocks are nested deeper than %d levels", maxDepth)
		return nil
	}
	var tasks []*Task
	for _, n := range items(e.value) {
		switch {
		case n.Kind != yaml.Mapping:
			p.refuse(n.Position, "", "a task must be a dictionary, not %s", n.Describe())
		case n.Get("block") != nil && where == inHandler:
			p.refuse(n.Position, "write each handler as a task of its own", "a handler cannot be a block")
		case n.Get("block") != nil:
			tasks = append(tasks, p.block(n, where, parent.child()))
		default:
			tasks = append(tasks, p.task(n, where, parent.child()))
		}
	}
	return tasks
}

// block reads a block: first what its tasks inherit, then the tasks.
func (p *parser) block(n *yaml.Node, where place, in lineage) *Task {
	task := &Task{At: n.Position, Block: []*Task{}}
	var lists []entry
	for _, e := range entries(n) {
		switch {
		case !p.allowed(e, inBlock):
		case e.name == "block" || e.name == "rescue" || e.name == "always":
			lists = append(lists, e)
		default:
			p.sharedKeyword(e, task, &in)
		}
	}
	task.Inherited = in.Inherited
	in.depth++
	for _, e := range lists {
		list := p.steps(e, where, in)
		switch e.name {
		case "block":
			task.Block = append(task.Block, list...)
		case "rescue":
			task.Rescue = list
		case "always":
			task.Always = list
		}
	}
	return task
}

// sharedKeyword reads a keyword that both blocks and tasks have; false: it is none of those.
func (p *parser) sharedKeyword(e entry, task *Task, in *lineage) bool {
	switch e.name {
	case "name":
		task.Name = p.text(e)
	case "vars":
		if vars := p.variables(e); vars != nil {
			in.TaskVars = append(in.TaskVars, vars)
		}
	case "notify":
		in.notify = append(in.notify, p.notifications(e)...)
	default:
		return p.inheritedKeyword(e, &in.Inherited)
	}
	return true
}

func (p *parser) notifications(e entry) []*Value {
	var list []*Value
	for _, item := range items(e.value) {
		if notify := p.text(entry{e.name, e.key, item}); notify != nil {
			list = append(list, notify)
		}
	}
	return list
}

func (p *parser) task(n *yaml.Node, where place, in lineage) *Task {
	task := &Task{At: n.Position}
	calls := 0
	var args, action *entry
	for _, e := range entries(n) {
		e.name = withoutPrefix(e.name)
		known, _ := isKeyword(e.name, where)
		module := p.findModule(e.name)
		switch {
		case !known && module != nil:
			calls++
			action = p.callOnce(e, calls, action)
		case e.name == "action":
			calls++
			action = p.callOnce(e, calls, action)
		case e.name == "meta":
			calls++
			task.Meta = p.meta(e)
		case !known && !p.refusedElsewhere(e, where):
			calls++
			p.unknownWord(e, where)
		case !p.allowed(e, where):
			calls++ // whatever it was meant to be, do not complain of a missing module as well
		case e.name == "args":
			args = &e
		case p.sharedKeyword(e, task, &in):
		default:
			p.taskKeyword(e, task)
		}
	}
	task.Inherited, task.Notify = in.Inherited, in.notify
	switch {
	case action != nil:
		p.call(*action, args, task)
	case calls == 0:
		p.refuse(task.At, "", "the task calls no module")
	}
	p.checkTogether(n, task)
	if where == inHandler && task.Name == nil && task.Listen == nil {
		p.warn(task.At, "nothing can notify a handler without name and listen")
	}
	return task
}

// withoutPrefix turns ansible.builtin.meta into meta: some words that look like modules are keywords here.
func withoutPrefix(name string) string {
	short := strings.TrimPrefix(name, modules.Builtin)
	if _, later := laterKeywords()[short]; later || short == "meta" {
		return short
	}
	return name
}

// callOnce refuses a second module in a task and returns the one that counts.
func (p *parser) callOnce(e entry, calls int, first *entry) *entry {
	if calls > 1 {
		p.refuse(e.key.Position, "write one task for each", "a task calls one module, and %q is a second one", e.name)
		return first
	}
	return &e
}

// refusedElsewhere tells whether allowed has a better message for a name than "unknown".
func (p *parser) refusedElsewhere(e entry, where place) bool {
	_, later := laterKeywords()[e.name]
	_, hinted := elsewhere()[e.name]
	known, _ := isKeyword(e.name, where)
	return later || hinted || known || strings.HasPrefix(e.name, "with_")
}

// unknownWord refuses a key of a task that is neither a keyword nor a module.
func (p *parser) unknownWord(e entry, where place) {
	short := strings.TrimPrefix(e.name, modules.Builtin)
	if hint, later := laterModules()[short]; later {
		p.refuse(e.key.Position, hint, "the module %q is not in the language yet", e.name)
		return
	}
	if strings.Count(short, ".") >= 2 {
		p.refuse(e.key.Position, "only modules of "+strings.TrimSuffix(modules.Builtin, ".")+" are known", "the collection of %q is not in the language yet", e.name)
		return
	}
	names := append(keywordNames(where), p.moduleNames()...)
	hint := nearest.Hint(short, names)
	if hint == "" {
		hint = "drover doc lists the modules"
	}
	p.refuse(e.key.Position, hint, "%q is neither a module nor a keyword of %s", e.name, where)
}

func (p *parser) findModule(name string) *modules.Module {
	return modules.Among(p.modules, name)
}

func (p *parser) moduleNames() []string {
	var names []string
	for i := range p.modules {
		names = append(names, p.modules[i].Name)
		names = append(names, p.modules[i].Aliases...)
	}
	return names
}

func (p *parser) meta(e entry) string {
	return p.choice(e, metaActions(), "")
}

func (p *parser) taskKeyword(e entry, task *Task) {
	switch e.name {
	case "loop", "with_items":
		if task.Loop != nil {
			p.refuse(e.key.Position, "", "loop and with_items exclude each other")
			return
		}
		task.Loop, task.LoopFlatten = p.loop(e), e.name == "with_items"
	case "loop_control":
		task.LoopControl = p.loopControl(e)
	case "register":
		task.Register = p.variableName(e)
	case "until":
		task.Until = p.conditions(e.value, e.name)
	case "retries":
		task.Retries = p.integer(e, 0)
	case "delay":
		task.Delay = p.number(e, 0, 7*24*3600)
	case "changed_when":
		task.ChangedWhen = p.conditions(e.value, e.name)
	case "failed_when":
		task.FailedWhen = p.conditions(e.value, e.name)
	case "listen":
		task.Listen = p.names(e, false)
	}
}

func (p *parser) loop(e entry) *Value {
	v := p.value(e.value)
	if v.Form == FormTemplate || v.Form == FormList {
		return v
	}
	if e.name == "with_items" && v.Form == FormStatic && v.Static != nil {
		return &Value{At: v.At, Form: FormList, Items: []*Value{v}}
	}
	p.refuse(v.At, "", "%s must be a list, not %s", e.name, e.value.Describe())
	return nil
}

func (p *parser) loopControl(e entry) LoopControl {
	control := LoopControl{}
	if e.value.Kind != yaml.Mapping {
		p.refuse(e.value.Position, "", "loop_control must be a dictionary, not %s", e.value.Describe())
		return control
	}
	words := []string{"loop_var", "index_var", "label", "pause"}
	for _, word := range entries(e.value) {
		switch word.name {
		case "loop_var":
			control.LoopVar = p.variableName(word)
		case "index_var":
			control.IndexVar = p.variableName(word)
		case "label":
			control.Label = p.value(word.value)
		case "pause":
			control.Pause = p.number(word, 0, 24*3600)
		case "extended", "extended_allitems", "break_when":
			p.refuse(word.key.Position, "", "%q is not in the language yet", word.name)
		default:
			p.refuse(word.key.Position, nearest.Hint(word.name, words), "loop_control has no %q", word.name)
		}
	}
	return control
}

// checkTogether refuses keywords that mean nothing without another, or against each other.
func (p *parser) checkTogether(n *yaml.Node, task *Task) {
	keys := n.Keys()
	if slices.Contains(keys, "loop_control") && task.Loop == nil && !slices.Contains(keys, "loop") && !slices.Contains(keys, "with_items") {
		p.warn(task.At, "loop_control does nothing without loop")
	}
	if slices.Contains(keys, "delay") && !slices.Contains(keys, "until") && !slices.Contains(keys, "retries") {
		p.warn(task.At, "delay does nothing without until")
	}
	if task.Meta == "" {
		return
	}
	for _, key := range []string{"loop", "with_items", "until", "delegate_to", "notify", "register", "args"} {
		if slices.Contains(keys, key) {
			p.refuse(task.At, "", "%q does not go together with meta", key)
		}
	}
}
