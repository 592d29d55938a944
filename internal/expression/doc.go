// SPDX-License-Identifier: MPL-2.0

// Package expression is the part of Jinja2 that Ansible users write: expressions (`when: foo.rc == 0`) and text with
// `{{ }}`, `{% %}` and `{# #}`.
//
// A source text is parsed once, into an Expression or a Template, and evaluated many times, each time against a Scope
// (the variables of one host) and within a Budget. Parsing refuses unknown filters, tests, functions and arguments, so
// that a mistake is found when a playbook is loaded and not on the fortieth host.
//
// Values are nil (None), bool, int64, float64, string, []any, Mapping (usually *Map, which keeps its order) and
// Undefined. Arithmetic, comparison and text forms are Python's; a wrong type is an error and never a guess. An
// Undefined may be looked into as deep as one likes (`a.b.c | default('x')`), and any other use of it is an error.
package expression
