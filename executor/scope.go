// SPDX-License-Identifier: MPL-2.0

package executor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"drover/internal/expression"
	"drover/internal/yaml"
	"drover/playbooks"
)

// scope is what one task sees of the variables of one host. Ansible's order of precedence, from the highest: magic
// variables and those of the task's loop, -e, set_fact and register, the variables of the task and its blocks, vars_files,
// the play's vars, facts, the inventory. Texts that people wrote are templates, rendered when they are looked up; what
// came from hosts (facts, registered results) is data and never a template. One goroutine uses a scope at a time.
type scope struct {
	run   *run
	ctx   context.Context
	view  *view
	host  string // "": the play itself, before it has hosts
	task  []layer
	local map[string]any
	cache map[string]any
	stack *[]rendering // over all hosts
}

// view is what a play's tasks see of the play; it is replaced when the play moves on, never changed.
type view struct {
	play  *playbooks.Play // nil outside of plays
	name  string
	vars  layer
	files []layer
	all   []string // every host of the play
	left  []string // those that have not failed
	batch []string
}

// maxDepth bounds how deep variables may be made of other variables.
const maxDepth = 100

func (r *run) newScope(ctx context.Context, v *view, host string, taskVars []*playbooks.Value) *scope {
	s := &scope{run: r, ctx: ctx, view: v, host: host, cache: map[string]any{}, stack: &[]rendering{}}
	for _, dictionary := range taskVars {
		s.task = append(s.task, newLayer(dictionary))
	}
	return s
}

// with returns a scope that has further variables of its own, which hold data.
func (s *scope) with(local map[string]any) *scope {
	inner := *s
	inner.local = make(map[string]any, len(s.local)+len(local))
	for _, variables := range []map[string]any{s.local, local} {
		for name, value := range variables {
			inner.local[name] = value
		}
	}
	inner.cache = map[string]any{}
	return &inner
}

// of returns the scope of another host, which shares the guard against variables that need each other.
func (s *scope) of(host string) *scope {
	return &scope{run: s.run, ctx: s.ctx, view: s.view, host: host, cache: map[string]any{}, stack: s.stack}
}

// Lookup returns the value of a variable; an error as the value fails the evaluation.
func (s *scope) Lookup(name string) (any, bool) {
	if value, ok := s.cache[name]; ok {
		return value, true
	}
	value, ok, err := s.find(name)
	if undefined, is := expression.IsUndefined(err); is {
		value, err = undefined, nil
	}
	if err != nil {
		return err, true
	}
	if ok {
		s.cache[name] = value
	}
	return value, ok
}

// Call answers lookup in expressions, which comes with its two arguments, and the filters that come as functions because YAML is not
// known to expressions.
func (s *scope) Call(_ context.Context, function string, positional []any, _ *expression.Map) (any, error) {
	switch function {
	case "to_yaml", "to_nice_yaml", "from_yaml":
		return yaml.Filter(function, positional[0])
	}
	if s.run.Lookup == nil {
		return nil, fmt.Errorf("the function %q is not available here", function)
	}
	what, isText := positional[0].(string)
	name, ok := positional[1].(string)
	if !isText || !ok {
		return nil, errors.New("lookup wants what to look up and a name, both as text")
	}
	return s.run.Lookup(what, name)
}

func (s *scope) find(name string) (any, bool, error) {
	if value, ok := s.local[name]; ok {
		return value, true, nil
	}
	if value, ok := s.magic(name); ok {
		return value, true, nil
	}
	if raw, ok := s.run.ExtraVars.Get(name); ok {
		return s.written(name, raw)
	}
	if value, ok := s.run.store.setOf(s.host).Get(name); ok {
		return value, true, nil
	}
	for _, variables := range slices.Backward(s.task) {
		if value, ok := variables[name]; ok {
			return s.guarded(name, func() (any, error) { return s.render(value) })
		}
	}
	if value, ok, err := s.findInPlay(name); ok {
		return value, ok, err
	}
	facts := s.run.store.factsOf(s.host)
	if value, ok := facts.Get(name); ok {
		return value, true, nil
	}
	if s.host != "" {
		if raw, ok := s.run.store.inventoryVars(s.host).Get(name); ok {
			return s.written(name, raw)
		}
	}
	short, prefixed := strings.CutPrefix(name, "ansible_")
	if value, ok := facts.Get(short); ok && prefixed {
		return value, true, nil
	}
	return nil, false, nil
}

func (s *scope) findInPlay(name string) (any, bool, error) {
	if s.view == nil {
		return nil, false, nil
	}
	var found *playbooks.Value
	for _, variables := range append([]layer{s.view.vars}, s.view.files...) {
		if value, ok := variables[name]; ok {
			found = value
		}
	}
	if found != nil {
		return s.guarded(name, func() (any, error) { return s.render(found) })
	}
	return nil, false, nil
}

// written renders a variable that a person wrote outside of the playbook.
func (s *scope) written(name string, raw any) (any, bool, error) {
	return s.guarded(name, func() (any, error) { return s.renderRaw(name, raw) })
}

// guarded renders a variable unless that is being done already, which would never end.
func (s *scope) guarded(name string, render func() (any, error)) (any, bool, error) {
	this := rendering{s.host, name}
	if i := slices.Index(*s.stack, this); i >= 0 {
		return nil, true, fmt.Errorf("variables need each other: %s", describeLoop(append(slices.Clone((*s.stack)[i:]), this)))
	}
	if len(*s.stack) >= maxDepth {
		return nil, true, fmt.Errorf("variable %s is made of variables more than %d deep", name, maxDepth)
	}
	*s.stack = append(*s.stack, this)
	defer func() { *s.stack = (*s.stack)[:len(*s.stack)-1] }()
	value, err := render()
	return value, true, err
}

// rendering is a variable of a host that is being rendered.
type rendering struct{ host, name string }

func describeLoop(loop []rendering) string {
	words := make([]string, len(loop))
	for i, r := range loop {
		words[i] = r.name
		if i > 0 && r.host != loop[i-1].host {
			words[i] += " of " + r.host
		}
	}
	return strings.Join(words, " -> ")
}

// names lists the variables of a host, for those who go through hostvars; magic variables are not among them.
func (s *scope) names() []string {
	seen := map[string]bool{}
	for _, variables := range []*expression.Map{
		s.run.store.inventoryVars(s.host), s.run.store.factsOf(s.host), s.run.store.setOf(s.host), s.run.ExtraVars,
	} {
		for _, name := range variables.Keys() {
			seen[name] = true
		}
	}
	names := make([]string, 0, len(seen))
	for name := range seen {
		names = append(names, name)
	}
	slices.Sort(names)
	return append(names, "inventory_hostname", "group_names")
}

// hostVars is the variable hostvars: the variables of every host, rendered when they are looked up.
type hostVars struct{ scope *scope }

func (h hostVars) Get(host string) (any, bool) {
	if !h.scope.run.store.has(host) {
		return nil, false
	}
	return oneHost{h.scope.of(host)}, true
}

func (h hostVars) Keys() []string { return h.scope.run.store.hostNames() }

// oneHost is hostvars[host].
type oneHost struct{ scope *scope }

func (o oneHost) Get(name string) (any, bool) { return o.scope.Lookup(name) }

func (o oneHost) Keys() []string { return o.scope.names() }

// sharedScope is a scope as modules get it, who may look things up from several goroutines.
type sharedScope struct {
	mu    sync.Mutex
	scope *scope
}

func (s *sharedScope) Lookup(name string) (any, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	value, ok := s.scope.Lookup(name)
	if !ok {
		return nil, false
	}
	value, err := settle(value)
	if err != nil {
		return err, true
	}
	return value, true
}

func (s *sharedScope) Call(ctx context.Context, function string, positional []any, named *expression.Map) (any, error) {
	return s.scope.Call(ctx, function, positional, named)
}

func (s *sharedScope) evaluate(ctx context.Context, source string) (any, error) {
	parsed, err := expression.ParseExpression(source, expression.Position{Line: 1, Column: 1})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	value, err := parsed.Evaluate(ctx, s.scope, expression.Budget{})
	if err != nil {
		return nil, err
	}
	return settle(value)
}
