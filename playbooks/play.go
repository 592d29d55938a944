// SPDX-License-Identifier: MPL-2.0

package playbooks

import (
	"slices"
	"strconv"
	"strings"

	"drover/internal/expression"
	"drover/internal/nearest"
	"drover/internal/yaml"
)

func (p *parser) plays(root *yaml.Node) []*Play {
	if root.Kind != yaml.Sequence {
		p.refuse(root.Position, "a playbook is a list of plays: begin with `- hosts: ...`", "the file holds %s", root.Describe())
		return nil
	}
	var plays []*Play
	for _, n := range items(root) {
		if n.Kind != yaml.Mapping {
			p.refuse(n.Position, "begin with `- hosts: ...`", "a play must be a dictionary, not %s", n.Describe())
			continue
		}
		plays = append(plays, p.play(n))
	}
	return plays
}

// play reads one play. Its keywords are read before its tasks, since tasks inherit from them.
func (p *parser) play(n *yaml.Node) *Play {
	play := &Play{At: n.Position, Order: "inventory"}
	var lists []entry
	for _, e := range entries(n) {
		switch {
		case !p.allowed(e, inPlay):
		case slices.Contains([]string{"pre_tasks", "tasks", "post_tasks", "handlers"}, e.name):
			lists = append(lists, e)
		case e.name == "name":
			play.Name = p.text(e)
		case e.name == "vars":
			play.Vars = p.variables(e)
		default:
			if !p.inheritedKeyword(e, &play.Inherited) {
				p.playKeyword(e, play)
			}
		}
	}
	if n.Get("hosts") == nil && n.Get("import_playbook") == nil {
		p.refuse(play.At, "", "the play has no hosts")
	}
	parent := lineage{Inherited: play.Inherited}
	for _, e := range lists {
		switch e.name {
		case "pre_tasks":
			play.PreTasks = p.steps(e, inTask, parent)
		case "tasks":
			play.Tasks = p.steps(e, inTask, parent)
		case "post_tasks":
			play.PostTasks = p.steps(e, inTask, parent)
		case "handlers":
			play.Handlers = p.steps(e, inHandler, parent)
		}
	}
	p.checkNotifications(play)
	return play
}

// allowed refuses a key that is not a keyword of this place, and says what it could be instead.
func (p *parser) allowed(e entry, where place) bool {
	known, here := isKeyword(e.name, where)
	if here {
		return true
	}
	at := e.key.Position
	if hint, later := laterKeywords()[e.name]; later {
		p.refuse(at, hint, "%q is not in the language yet", e.name)
		return false
	}
	if strings.HasPrefix(e.name, "with_") && e.name != "with_items" {
		p.refuse(at, "use loop", "%q is not in the language yet", e.name)
		return false
	}
	switch hint, ok := elsewhere()[e.name]; {
	case ok:
		p.refuse(at, hint, "unknown keyword %q", e.name)
	case known:
		p.refuse(at, "", "%q does not belong on %s", e.name, where)
	case where == inPlay && p.findModule(e.name) != nil:
		p.refuse(at, "put it under tasks", "a module does not belong on a play: %q", e.name)
	default:
		p.refuse(at, nearest.Hint(e.name, keywordNames(where)), "unknown keyword %q on %s", e.name, where)
	}
	return false
}

func (p *parser) playKeyword(e entry, play *Play) {
	switch e.name {
	case "hosts":
		play.Hosts = p.hosts(e)
	case "serial":
		play.Serial = p.serial(e)
	case "order":
		play.Order = p.choice(e, Orders(), play.Order)
	case "strategy":
		p.linearOnly(e)
	case "max_fail_percentage":
		play.MaxFailPercentage = p.number(e, 0, 100)
	case "any_errors_fatal":
		play.AnyErrorsFatal = p.constantBool(e)
	case "force_handlers":
		play.ForceHandlers = p.constantBool(e)
	case "gather_facts":
		// A playbook that asks for facts uses them: it would fail in the middle of a run.
		if p.constantBool(e) {
			p.refuse(e.value.Position, "remove it and call the module nomad_facts for what you need", "drover does not gather Ansible's facts")
		}
	case "vars_files":
		for _, item := range items(e.value) {
			if item.Kind != yaml.Scalar {
				p.refuse(item.Position, "", "a vars file must be a path, not %s", item.Describe())
				continue
			}
			play.VarsFiles = append(play.VarsFiles, p.value(item))
		}
	}
}

func (p *parser) linearOnly(e entry) {
	if e.value.Text != "linear" && e.value.Text != "ansible.builtin.linear" {
		p.refuse(e.value.Position, "drover runs a play task by task over all hosts of a batch, as linear does",
			"strategy %q is not in the language yet", e.value.Text)
	}
}

func (p *parser) hosts(e entry) *Value {
	for _, item := range items(e.value) {
		if item.Kind != yaml.Scalar || item.IsNull() || strings.TrimSpace(item.Text) == "" {
			p.refuse(item.Position, "", "hosts must be a pattern or a list of patterns, not %s", item.Describe())
			return nil
		}
	}
	if e.value.Kind == yaml.Sequence && len(e.value.Items) == 0 {
		p.refuse(e.value.Position, "", "hosts is an empty list")
		return nil
	}
	return p.value(e.value)
}

// serial reads batch sizes: a number, a percentage, or a list of them.
func (p *parser) serial(e entry) []*Value {
	var sizes []*Value
	for _, item := range items(e.value) {
		v := p.value(item)
		if static, ok := v.constant(); ok && !validBatch(static) {
			p.refuse(v.At, "", `serial must be a number of hosts from 1, a percentage such as "30%%", or a list of them`)
			continue
		}
		sizes = append(sizes, v)
	}
	return sizes
}

func validBatch(size any) bool {
	switch v := size.(type) {
	case int64:
		return v >= 1
	case string:
		number, percent := strings.CutSuffix(strings.TrimSpace(v), "%")
		n, err := strconv.ParseFloat(number, 64)
		if err != nil {
			return false
		}
		if percent {
			return n > 0 && n <= 100
		}
		return n >= 1 && n == float64(int64(n))
	}
	return false
}

// variables reads a dictionary of variables.
func (p *parser) variables(e entry) *Value {
	if e.value.IsNull() {
		return nil
	}
	if e.value.Kind != yaml.Mapping {
		p.refuse(e.value.Position, "", "vars must be a dictionary, not %s", e.value.Describe())
		return nil
	}
	v := p.value(e.value)
	for _, pair := range v.Pairs {
		if !isIdentifier(pair.Key) {
			p.refuse(pair.At, "use letters, digits and underscores", "%q cannot be the name of a variable", pair.Key)
		}
	}
	return v
}

// checkNotifications refuses a notify that no handler of the play answers, as far as names are without templates.
func (p *parser) checkNotifications(play *Play) {
	var names []string
	fixed := true
	for handler := range everyTask(play.Handlers) {
		if handler.Name != nil {
			fixed = fixed && handler.Name.IsStatic()
			names = append(names, handler.Name.Text())
		}
		names = append(names, handler.Listen...)
	}
	if !fixed {
		return
	}
	for _, list := range [][]*Task{play.PreTasks, play.Tasks, play.PostTasks, play.Handlers} {
		for task := range everyTask(list) {
			for _, notify := range task.Notify {
				p.checkNotify(notify, names)
			}
		}
	}
}

func (p *parser) checkNotify(notify *Value, names []string) {
	if !notify.IsStatic() || slices.Contains(names, notify.Text()) {
		return
	}
	p.problems = append(p.problems, &expression.Error{
		Position: notify.At,
		Message:  "no handler of this play is called " + strconv.Quote(notify.Text()),
		Hint:     nearest.Hint(notify.Text(), names),
	})
}
