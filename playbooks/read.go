// SPDX-License-Identifier: MPL-2.0

package playbooks

import (
	"slices"
	"strconv"
	"strings"

	"drover/internal/modules"
	"drover/internal/nearest"
	"drover/internal/yaml"
)

// What a keyword's value must be is checked here as far as it has no template; the executor checks the rest when it renders.

// text reads a text, which may be a template; nil after a mistake.
func (p *parser) text(e entry) *Value {
	if e.value.Kind != yaml.Scalar || e.value.IsNull() {
		p.refuse(e.value.Position, "", "%s must be text, not %s", e.name, e.value.Describe())
		return nil
	}
	v := p.value(e.value)
	if _, ok := v.Static.(string); v.Form == FormStatic && !ok {
		v.Static = e.value.Text
	}
	return v
}

func (p *parser) boolean(e entry) *Value {
	return p.typed(e, modules.Boolean, "true or false")
}

func (p *parser) integer(e entry, least int64) *Value {
	v := p.typed(e, modules.Integer, "a whole number")
	if v == nil {
		return nil
	}
	if n, ok := v.Static.(int64); ok && n < least {
		p.refuse(v.At, "", "%s must be at least %d", e.name, least)
		return nil
	}
	return v
}

func (p *parser) number(e entry, least, most float64) *Value {
	v := p.typed(e, modules.Number, "a number")
	if v == nil {
		return nil
	}
	if n, ok := v.Static.(float64); ok && (n < least || n > most) {
		p.refuse(v.At, "", "%s must be between %g and %g", e.name, least, most)
		return nil
	}
	return v
}

// typed reads a scalar of a kind or a template; a static value is converted to the kind. nil after a mistake.
func (p *parser) typed(e entry, kind modules.Kind, name string) *Value {
	v := p.value(e.value)
	if v.Form == FormTemplate {
		return v
	}
	arg := modules.Arg{Name: e.name, Kind: kind}
	if v.Form == FormStatic && v.Static != nil {
		converted, err := arg.Convert(v.Static)
		if err == nil {
			v.Static = converted
			return v
		}
	}
	p.refuse(v.At, "", "%s must be %s, not %s", e.name, name, e.value.Describe())
	return nil
}

// constantBool reads true or false where a template would come too late.
func (p *parser) constantBool(e entry) bool {
	v := p.boolean(e)
	if v == nil {
		return false
	}
	if v.Form == FormTemplate {
		p.refuse(v.At, "", "%s must be true or false, a template is not in the language yet", e.name)
		return false
	}
	yes, _ := v.Static.(bool)
	return yes
}

// choice reads one of some fixed words.
func (p *parser) choice(e entry, among []string, otherwise string) string {
	if e.value.Kind == yaml.Scalar && slices.Contains(among, e.value.Text) {
		return e.value.Text
	}
	hint := nearest.Hint(e.value.Text, among)
	if hint == "" {
		hint = "choose one of " + strings.Join(among, ", ")
	}
	p.refuse(e.value.Position, hint, "%s cannot be %s", e.name, strconv.Quote(e.value.Text))
	return otherwise
}

// variableName reads the name of a variable that a keyword sets.
func (p *parser) variableName(e entry) string {
	if e.value.Kind == yaml.Scalar && isIdentifier(e.value.Text) {
		return e.value.Text
	}
	p.refuse(e.value.Position, "use letters, digits and underscores", "%s: %q cannot be the name of a variable", e.name, e.value.Text)
	return ""
}
