// SPDX-License-Identifier: MPL-2.0

package expression

import (
	"context"
	"fmt"
	"strings"
)

// Render returns the template's value. A text that comes to exactly one `{{ }}` gives the value itself, of any type;
// everything else gives text, in which None is empty. Text is never read as a value again.
func (t *Template) Render(ctx context.Context, scope Scope, budget Budget) (any, error) {
	w := &writer{evaluation: newEvaluation(ctx, scope, budget, t.source)}
	if err := w.body(t.body); err != nil {
		return nil, w.place(err)
	}
	value := w.result()
	if s, ok := value.(string); ok {
		return s + strings.Repeat("\n", max(t.newlines-newlines(s), 0)), nil
	}
	return value, nil
}

// place gives an error without a position that of the template.
func (ev *evaluation) place(err error) error { return ev.locate(at(0), err) }

// writer renders parts. While there is only one it is kept as the value that it is.
type writer struct {
	*evaluation
	text  strings.Builder
	only  any
	count int
}

// write adds a value: the first is kept, with the second both become text.
func (w *writer) write(value any) error {
	if w.count++; w.count == 1 {
		w.only = value
		return nil
	}
	if w.count == 2 {
		if err := w.join(w.only); err != nil {
			return err
		}
	}
	return w.join(value)
}

func (w *writer) join(value any) error {
	if value == nil {
		return nil
	}
	s, err := text(value)
	if err != nil {
		return err
	}
	if err := w.charge(len(s)); err != nil {
		return err
	}
	w.text.WriteString(s)
	return nil
}

func (w *writer) result() any {
	if w.count == 1 {
		return w.only
	}
	return w.text.String()
}

func (w *writer) body(body []part) error {
	for _, p := range body {
		if err := w.step(1); err != nil {
			return err
		}
		if err := w.part(p); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) part(p part) error {
	switch p := p.(type) {
	case plainText:
		return w.write(string(p))
	case *output:
		return w.output(p)
	case *branch:
		return w.branch(p)
	case *loop:
		return w.loop(p)
	case *assignment:
		value, err := w.eval(p.value)
		if err != nil {
			return err
		}
		return w.locate(p, w.bind(p.targets, value))
	case *blockAssignment:
		inner := &writer{evaluation: w.evaluation}
		if err := inner.body(p.body); err != nil {
			return err
		}
		return w.bind([]string{p.target}, inner.result())
	}
	return fmt.Errorf("unknown part of a template %T", p)
}

func (w *writer) output(p *output) error {
	value, err := w.eval(p.value)
	if err != nil {
		return err
	}
	if u, undefined := firstUndefined(value); undefined {
		if !u.Empty || value != any(u) {
			return w.locate(p.value, &UndefinedError{u})
		}
		value = ""
	}
	return w.locate(p.value, w.write(value))
}

func (w *writer) branch(b *branch) error {
	for i, condition := range b.conditions {
		value, err := w.eval(condition)
		if err != nil {
			return err
		}
		yes, err := truth(value)
		if err != nil {
			return w.locate(condition, err)
		}
		if yes {
			return w.body(b.bodies[i])
		}
	}
	if len(b.bodies) > len(b.conditions) {
		return w.body(b.bodies[len(b.bodies)-1])
	}
	return nil
}

// bind sets variables in the innermost frame; several take the items of a list.
func (ev *evaluation) bind(targets []string, value any) error {
	if len(ev.locals) == 0 {
		ev.locals = append(ev.locals, map[string]any{})
	}
	frame := ev.locals[len(ev.locals)-1]
	if len(targets) == 1 {
		frame[targets[0]] = value
		return nil
	}
	items, err := ev.iterate(value)
	if err != nil {
		return err
	}
	if len(items) != len(targets) {
		return fmt.Errorf("%d values do not fit %d variables", len(items), len(targets))
	}
	for i, target := range targets {
		frame[target] = items[i]
	}
	return nil
}

func (w *writer) loop(l *loop) error {
	over, err := w.eval(l.over)
	if err != nil {
		return err
	}
	items, err := w.iterate(over)
	if err != nil {
		return w.locate(l.over, err)
	}
	w.locals = append(w.locals, nil)
	defer func() { w.locals = w.locals[:len(w.locals)-1] }()
	if items, err = w.selected(l, items); err != nil {
		return err
	}
	for i, item := range items {
		w.locals[len(w.locals)-1] = map[string]any{"loop": loopVariable(items, i)}
		if err := w.locate(l, w.bind(l.targets, item)); err != nil {
			return err
		}
		if err := w.body(l.body); err != nil {
			return err
		}
	}
	if len(items) == 0 {
		w.locals[len(w.locals)-1] = map[string]any{}
		return w.body(l.otherwise)
	}
	return nil
}

// selected returns the items for which the loop's condition holds.
func (w *writer) selected(l *loop, items []any) ([]any, error) {
	if l.condition == nil {
		return items, w.step(len(items))
	}
	var chosen []any
	for _, item := range items {
		w.locals[len(w.locals)-1] = map[string]any{}
		if err := w.bind(l.targets, item); err != nil {
			return nil, w.locate(l, err)
		}
		value, err := w.eval(l.condition)
		if err != nil {
			return nil, err
		}
		yes, err := truth(value)
		if err != nil {
			return nil, w.locate(l.condition, err)
		}
		if yes {
			chosen = append(chosen, item)
		}
	}
	return chosen, nil
}

// loopVariable is Jinja2's `loop` for one round.
func loopVariable(items []any, i int) *Map {
	n := len(items)
	loop := MapOf("index", i+1, "index0", i, "revindex", n-i, "revindex0", n-i-1,
		"first", i == 0, "last", i == n-1, "length", n)
	if i > 0 {
		loop.Set("previtem", items[i-1])
	}
	if i+1 < n {
		loop.Set("nextitem", items[i+1])
	}
	return loop
}

// iterate returns what a for loop visits: items, keys of a mapping, or the characters of a text.
func (ev *evaluation) iterate(value any) ([]any, error) {
	switch v := value.(type) {
	case []any:
		return v, nil
	case Mapping:
		keys := v.Keys()
		items := make([]any, len(keys))
		for i, key := range keys {
			items[i] = key
		}
		return items, ev.charge(len(items) * itemSize)
	case string:
		if err := ev.charge(len(v) * itemSize); err != nil {
			return nil, err
		}
		items := []any{}
		for _, r := range v {
			items = append(items, string(r))
		}
		return items, nil
	case Undefined:
		return nil, &UndefinedError{v}
	}
	return nil, fmt.Errorf("a list is needed, not %s", typeName(value))
}
