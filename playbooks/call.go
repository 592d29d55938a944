// SPDX-License-Identifier: MPL-2.0

package playbooks

import (
	"slices"
	"strings"

	"drover/internal/expression"
	"drover/internal/modules"
	"drover/internal/yaml"
)

// call reads which module a task calls, and with what.
func (p *parser) call(e entry, extra *entry, task *Task) {
	if e.name == "action" {
		var ok bool
		if e, ok = p.action(e); !ok {
			return
		}
	}
	task.Called, task.Module = e.name, p.findModule(e.name)
	task.Args = map[string]*Value{}
	p.arguments(e, task)
	if extra != nil {
		p.extraArguments(*extra, task)
	}
	if task.ArgsAll != nil {
		return
	}
	given := func(name string) bool { return task.Args[name] != nil }
	if err := task.Module.CheckRequired(given); err != nil {
		p.refuseError(e.key.Position, err)
	}
	certain := func(name string) bool { return given(name) && !mayBeOmitted(task.Args[name]) }
	if err := task.Module.CheckExclusive(certain); err != nil {
		p.refuseError(e.key.Position, err)
	}
}

// mayBeOmitted reports whether an argument can turn out not to be given: `{{ x | default(omit) }}`, or nothing at all.
func mayBeOmitted(v *Value) bool {
	if v.Form == FormTemplate {
		return slices.Contains(v.Template.Names(), "omit")
	}
	return v.Form == FormStatic && v.Static == nil
}

// action turns `action: copy src=a dest=b` and `action: {module: copy, ...}` into what `copy: ...` would be.
func (p *parser) action(e entry) (entry, bool) {
	name, rest := "", *e.value
	switch e.value.Kind {
	case yaml.Scalar:
		text := strings.TrimLeft(e.value.Text, " ")
		name, rest.Text, _ = strings.Cut(text, " ")
		p.moveText(&rest, e.value, len(e.value.Text)-len(rest.Text), rest.Text)
	case yaml.Mapping:
		rest.Pairs = nil
		for _, word := range e.value.Pairs {
			if word.Name() == "module" {
				name = word.Value.Text
				continue
			}
			rest.Pairs = append(rest.Pairs, word)
		}
	}
	if name == "" {
		p.refuse(e.value.Position, "write the module's name as the keyword", "action names no module")
		return e, false
	}
	if p.findModule(name) == nil {
		p.unknownWord(entry{name, e.value, e.value}, inTask)
		return e, false
	}
	return entry{name, e.key, &rest}, true
}

// moveText makes a node of a part of another node's text, which begins at an offset in bytes.
func (p *parser) moveText(part, of *yaml.Node, offset int, text string) {
	part.Position = p.locateOffset(of, offset)
	part.Text, part.Value, part.Quoted = text, text, false
}

// arguments reads what stands behind the module's name.
func (p *parser) arguments(e entry, task *Task) {
	switch {
	case e.value.IsNull():
	case e.value.Kind == yaml.Mapping:
		for _, word := range entries(e.value) {
			p.argument(word, task)
		}
	case e.value.Kind == yaml.Sequence:
		p.refuse(e.value.Position, "", "the arguments of %s must be a dictionary, not a list", task.Module.Name)
	case strings.TrimSpace(e.value.Text) == "":
	case task.Module.FreeForm != "":
		p.freeForm(e, task)
	case isWholeTemplate(e.value.Text):
		task.ArgsAll = p.value(e.value)
	default:
		p.keyValues(e, task)
	}
}

// extraArguments reads the keyword args, which stands beside a free form.
func (p *parser) extraArguments(e entry, task *Task) {
	switch {
	case e.value.IsNull():
	case e.value.Kind == yaml.Mapping:
		for _, word := range entries(e.value) {
			p.argument(word, task)
		}
	case e.value.Kind == yaml.Scalar && isWholeTemplate(e.value.Text):
		task.ArgsAll = p.value(e.value)
	default:
		p.refuse(e.value.Position, "", "args must be a dictionary, not %s", e.value.Describe())
	}
}

// argument reads one argument and checks it as far as it has no template.
func (p *parser) argument(e entry, task *Task) {
	arg, ok := task.Module.Arg(e.name)
	if !ok && !task.Module.Open {
		p.refuseError(e.key.Position, task.Module.UnknownArg(e.name))
		return
	}
	if !ok {
		arg = &modules.Arg{Name: e.name, Kind: modules.Any}
		if !isIdentifier(e.name) {
			p.refuse(e.key.Position, "use letters, digits and underscores", "%q cannot be the name of a variable", e.name)
			return
		}
	}
	if task.Args[arg.Name] != nil {
		p.refuse(e.key.Position, "", "the argument %s is given twice", arg.Name)
		return
	}
	var v *Value
	if arg.Kind == modules.Raw {
		v = p.rawArgument(e)
	} else {
		v = p.value(e.value)
	}
	task.Args[arg.Name] = v
	p.checkArgument(arg, v, task.Module)
}

// checkArgument refuses a static value that is not of the argument's kind or not among its choices.
func (p *parser) checkArgument(arg *modules.Arg, v *Value, module *modules.Module) {
	if v.Form == FormList && !v.IsStatic() && arg.Kind != modules.List && arg.Kind != modules.Any && arg.Kind != modules.Raw ||
		v.Form == FormDict && !v.IsStatic() && arg.Kind != modules.Dict && arg.Kind != modules.Any {
		p.refuse(v.At, "", "module %s: argument %s must be of type %s", module.Name, arg.Name, arg.Kind)
		return
	}
	constant, ok := v.constant()
	if !ok || arg.Kind == modules.Raw {
		return
	}
	if constant == nil {
		if arg.Required {
			p.refuse(v.At, "", "module %s: argument %s is required and has no value", module.Name, arg.Name)
		}
		return
	}
	if _, err := arg.Convert(constant); err != nil {
		p.refuse(v.At, "", "module %s: argument %s: %v", module.Name, arg.Name, err)
	}
}

// rawArgument reads expressions that the module evaluates itself, and checks them: assert's that, debug's var.
func (p *parser) rawArgument(e entry) *Value {
	list := e.value.Kind == yaml.Sequence
	v := &Value{At: e.value.Position}
	if list {
		v.Form = FormList
	}
	for _, item := range items(e.value) {
		condition := p.condition(item, e.name)
		if condition == nil {
			continue
		}
		text := &Value{At: p.scalarStart(item), Static: condition.Source()}
		if !list {
			return text
		}
		v.Items = append(v.Items, text)
	}
	return v
}

// isWholeTemplate reports whether a text is one template and nothing beside it.
func isWholeTemplate(text string) bool {
	text = strings.TrimSpace(text)
	return strings.HasPrefix(text, "{{") && strings.HasSuffix(text, "}}") && strings.Count(text, "{{") == 1
}

// freeForm gives the whole text to the module's free-form argument.
func (p *parser) freeForm(e entry, task *Task) {
	name := task.Module.FreeForm
	for word := range strings.FieldsSeq(e.value.Text) {
		key, _, ok := strings.Cut(word, "=")
		if arg, known := task.Module.Arg(key); ok && known && arg.Name != name {
			p.refuse(e.value.Position, "write it under args: "+key+": ...", "%s= inside of the text of %s is not in the language", key, task.Module.Name)
			return
		}
	}
	p.argument(entry{name, e.key, e.value}, task)
}

// keyValues reads `service: name=nomad state=started`.
func (p *parser) keyValues(e entry, task *Task) {
	words, err := splitWords(e.value.Text)
	if err != nil {
		p.refuse(e.value.Position, "", "%v", err)
		return
	}
	for _, word := range words {
		key, text, ok := strings.Cut(word.text, "=")
		if !ok || !isIdentifier(key) {
			p.refuse(p.locateOffset(e.value, word.start), "write the arguments as a dictionary below the module's name", "%s takes no free text", task.Module.Name)
			return
		}
		name, value, bare := *e.key, *e.value, unquote(text)
		p.moveText(&name, e.value, word.start, key)
		p.moveText(&value, e.value, word.start+len(key)+len("=")+(len(text)-len(bare))/2, bare)
		p.argument(entry{key, &name, &value}, task)
	}
}

// locateOffset is locate for an offset in bytes.
func (p *parser) locateOffset(n *yaml.Node, offset int) expression.Position {
	before := n.Text[:offset]
	line := 1 + strings.Count(before, "\n")
	column := 1 + len([]rune(before[strings.LastIndexByte(before, '\n')+1:]))
	return p.locate(n, line, column)
}
