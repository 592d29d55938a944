// SPDX-License-Identifier: MPL-2.0

package expression

import (
	"slices"
	"strings"
)

// Template is a parsed text with `{{ }}`, `{% %}` and `{# #}`; it can be rendered by many at once.
type Template struct {
	source *source
	body   []part
	// newlines counts those at the end of the source, which only a result that is text gets back.
	newlines int
}

// part is one piece of a template.
type part interface{}

type (
	plainText string
	output    struct{ value node }
	branch    struct {
		conditions []node // one for each of bodies, except for a last `else`
		bodies     [][]part
	}
	loop struct {
		at
		targets         []string
		over, condition node
		body, otherwise []part
	}
	assignment struct {
		at
		targets []string
		value   node
	}
	blockAssignment struct {
		target string
		body   []part
	}
)

// ParseTemplate parses the text of a playbook's value. The position is that of its first character. A backslash in a
// string inside {{ }} stands for itself, as in Ansible's playbooks.
func ParseTemplate(src string, at Position) (*Template, error) {
	return parseTemplate(&source{text: src, at: at})
}

// IsTemplate reports whether a text has anything to evaluate; it is much cheaper than parsing.
func IsTemplate(text string) bool {
	return strings.Contains(text, "{{") || strings.Contains(text, "{%") || strings.Contains(text, "{#")
}

// IsStatic reports whether the template is plain text.
func (t *Template) IsStatic() bool {
	for _, p := range t.body {
		if _, plain := p.(plainText); !plain {
			return false
		}
	}
	return true
}

// Source returns the text that was parsed.
func (t *Template) Source() string { return t.source.text }

// Position returns where the template begins.
func (t *Template) Position() Position { return t.source.at }

// Names returns the variables that the template uses and does not set itself, in order of their first use.
func (t *Template) Names() []string {
	var found []string
	collectNames(t.body, nil, &found)
	return found
}

func collectNames(body []part, bound []string, found *[]string) {
	add := func(n node, bound []string) {
		if n == nil {
			return
		}
		walkNames(n, func(variable *name) {
			if !slices.Contains(bound, variable.name) && !slices.Contains(*found, variable.name) {
				*found = append(*found, variable.name)
			}
		})
	}
	bound = slices.Clone(bound)
	for _, p := range body {
		switch p := p.(type) {
		case *output:
			add(p.value, bound)
		case *branch:
			for _, condition := range p.conditions {
				add(condition, bound)
			}
			for _, inner := range p.bodies {
				collectNames(inner, bound, found)
			}
		case *loop:
			add(p.over, bound)
			inner := append(slices.Clone(bound), p.targets...)
			inner = append(inner, "loop")
			add(p.condition, inner)
			collectNames(p.body, inner, found)
			collectNames(p.otherwise, bound, found)
		case *assignment:
			add(p.value, bound)
			bound = append(bound, p.targets...)
		case *blockAssignment:
			collectNames(p.body, bound, found)
			bound = append(bound, p.target)
		}
	}
}
