// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"drover/internal/expression"
	"drover/internal/nearest"
)

// Args are the arguments of one call, decoded and checked by Module.Decode: every declared argument is there under its canonical
// name when it was given or has a default. The getters return the zero value of their type for an argument that is not there.
type Args struct{ values map[string]any }

// Has reports whether the argument was given or has a default.
func (a Args) Has(name string) bool {
	_, ok := a.values[name]
	return ok
}

// Names returns the names of all arguments that are there, sorted; an Open module finds its own ones among them.
func (a Args) Names() []string { return slices.Sorted(maps.Keys(a.values)) }

// Any returns the argument as it is: int64, float64, bool, string, []any, expression.Mapping, or what its kind decodes to.
func (a Args) Any(name string) any { return a.values[name] }

// String returns an argument of kind String or Path.
func (a Args) String(name string) string { return get[string](a, name) }

// Int returns an argument of kind Integer.
func (a Args) Int(name string) int64 { return get[int64](a, name) }

// Float returns an argument of kind Number.
func (a Args) Float(name string) float64 { return get[float64](a, name) }

// Bool returns an argument of kind Boolean.
func (a Args) Bool(name string) bool { return get[bool](a, name) }

// List returns an argument of kind List.
func (a Args) List(name string) []any { return get[[]any](a, name) }

// Strings returns an argument of kind List with every item as text: numbers as they are written, booleans as true and false.
func (a Args) Strings(name string) []string {
	items := a.List(name)
	if items == nil {
		return nil
	}
	texts := make([]string, len(items))
	for i, item := range items {
		texts[i] = fmt.Sprint(item)
	}
	return texts
}

// Dict returns an argument of kind Dict; nil is an empty map.
func (a Args) Dict(name string) *expression.Map { return get[*expression.Map](a, name) }

// Mode returns the permission bits of an argument of kind Mode, nil when it was not given.
func (a Args) Mode(name string) *uint32 {
	if mode, ok := a.values[name].(uint32); ok {
		return &mode
	}
	return nil
}

// Duration returns an argument of kind Duration.
func (a Args) Duration(name string) time.Duration { return get[time.Duration](a, name) }

func get[T any](a Args, name string) T {
	value, _ := a.values[name].(T)
	return value
}

// Arg returns the argument with that name or alias.
func (m *Module) Arg(name string) (*Arg, bool) {
	for i := range m.Args {
		if m.Args[i].Name == name || slices.Contains(m.Args[i].Aliases, name) {
			return &m.Args[i], true
		}
	}
	return nil, false
}

// UnknownArg is the error for an argument that the module does not have, with the nearest name.
func (m *Module) UnknownArg(name string) error {
	names := make([]string, 0, len(m.Args))
	for _, arg := range m.Args {
		names = append(names, arg.Name)
		names = append(names, arg.Aliases...)
	}
	hint := nearest.Hint(name, names)
	switch {
	case len(names) == 0:
		hint = "it takes no arguments"
	case hint == "":
		hint = "it takes " + strings.Join(names, ", ")
	}
	return fmt.Errorf("module %s has no argument %q; %s", m.Name, name, hint)
}

// Decode turns rendered values, by name or alias, into the arguments of a call: unknown names, values of a wrong type, values
// that are not among the choices and missing required arguments are refused. A nil value counts as not given, as in Ansible.
func (m *Module) Decode(values map[string]any) (Args, error) {
	args := Args{values: make(map[string]any, len(m.Args))}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		value := values[name]
		arg, ok := m.Arg(name)
		if !ok && m.Open {
			args.values[name] = value
			continue
		}
		if !ok {
			return Args{}, m.UnknownArg(name)
		}
		if value == nil {
			continue
		}
		if args.Has(arg.Name) {
			return Args{}, fmt.Errorf("module %s: argument %s is given twice, also as its alias", m.Name, arg.Name)
		}
		converted, err := arg.Convert(value)
		if err != nil {
			return Args{}, fmt.Errorf("module %s: argument %s: %w", m.Name, arg.Name, err)
		}
		args.values[arg.Name] = converted
	}
	if err := errors.Join(m.CheckRequired(args.Has), m.CheckExclusive(args.Has)); err != nil {
		return Args{}, err
	}
	return args, m.fillDefaults(args)
}

// CheckRequired refuses a call that lacks a required argument; given reports which canonical names are there.
func (m *Module) CheckRequired(given func(name string) bool) error {
	for i := range m.Args {
		if arg := &m.Args[i]; arg.Required && !given(arg.Name) {
			return fmt.Errorf("module %s needs the argument %s (%s)", m.Name, arg.Name, arg.Kind)
		}
	}
	return nil
}

// CheckExclusive refuses a call that gives two arguments that exclude each other.
func (m *Module) CheckExclusive(given func(name string) bool) error {
	for _, set := range m.Exclusive {
		var found []string
		for _, name := range set {
			if given(name) {
				found = append(found, name)
			}
		}
		if len(found) > 1 {
			return fmt.Errorf("module %s: give only one of %s", m.Name, strings.Join(found, " and "))
		}
	}
	return nil
}

func (m *Module) fillDefaults(args Args) error {
	for i := range m.Args {
		arg := &m.Args[i]
		if arg.Default == nil || args.Has(arg.Name) {
			continue
		}
		value, err := arg.Convert(expression.FromGo(arg.Default))
		if err != nil {
			return fmt.Errorf("module %s: default of %s: %w", m.Name, arg.Name, err)
		}
		args.values[arg.Name] = value
	}
	return nil
}
