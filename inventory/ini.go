// SPDX-License-Identifier: MPL-2.0

package inventory

import (
	"bytes"
	"regexp"
	"strings"
	"unicode/utf8"

	"drover/internal/expression"
	"drover/internal/nearest"
	"drover/internal/words"
)

var (
	sectionHeader = regexp.MustCompile(`^\[([^:\]\s]+)(?::(\w+))?\]\s*(?:#.*)?$`)
	groupLine     = regexp.MustCompile(`^([^:\]\s]+)\s*(?:#.*)?$`)
)

// iniParser reads one INI file, line by line. Children and variables may name a group that only comes later, so those
// names are checked at the end.
type iniParser struct {
	*loader
	at      expression.Position // of the current line's first character
	group   *Group
	kind    string // hosts, children or vars
	pending []reference
	defined map[string]bool // groups with a section of their own, or known from an earlier source
}

// reference is a group's name that the file must still define.
type reference struct {
	at           expression.Position
	parent, name string // parent is "" for a :vars section
}

func (l *loader) ini(file string, data []byte) error {
	p := &iniParser{loader: l, group: l.inventory.named[groupUngrouped], kind: "hosts", defined: map[string]bool{}}
	for _, group := range l.inventory.groups {
		p.defined[group.Name] = true
	}
	if !utf8.Valid(data) {
		line := 1 + bytes.Count(data[:invalidAt(data)], []byte("\n"))
		return problem(expression.Position{File: file, Line: line, Column: 1}, "", "the line is not valid UTF-8")
	}
	for i, line := range strings.Split(strings.TrimPrefix(string(data), "\ufeff"), "\n") {
		text := strings.TrimSpace(line)
		if text == "" || text[0] == '#' || text[0] == ';' {
			continue
		}
		indent := utf8.RuneCountInString(line) - utf8.RuneCountInString(strings.TrimLeft(line, " \t\r"))
		p.at = expression.Position{File: file, Line: i + 1, Column: indent + 1}
		if err := p.line(text); err != nil {
			return err
		}
	}
	return p.resolve()
}

func invalidAt(data []byte) int {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return len(data)
}

func (p *iniParser) line(text string) error {
	if match := sectionHeader.FindStringSubmatch(text); match != nil {
		return p.section(match[1], match[2])
	}
	if strings.HasPrefix(text, "[") && strings.HasSuffix(text, "]") {
		return problem(p.at, "write [group], [group:children] or [group:vars], without spaces", "%s is not a section", text)
	}
	switch p.kind {
	case "vars":
		return p.variable(text)
	case "children":
		return p.child(text)
	}
	return p.host(text)
}

func (p *iniParser) section(name, kind string) error {
	if kind == "" {
		kind = "hosts"
	}
	kinds := []string{"hosts", "children", "vars"}
	if kind != kinds[0] && kind != kinds[1] && kind != kinds[2] {
		at := p.at
		at.Column += utf8.RuneCountInString(name) + 2
		return problem(at, nearest.Hint(kind, kinds), "section [%s:%s] is of an unknown kind; it can be hosts, children or vars", name, kind)
	}
	if kind == "vars" {
		p.pending = append(p.pending, reference{at: p.at, name: name})
	} else {
		p.defined[name] = true
	}
	p.group, p.kind = p.inventory.addGroup(name, p.at), kind
	return p.adoptDefined()
}

func (p *iniParser) child(text string) error {
	match := groupLine.FindStringSubmatch(text)
	if match == nil {
		return problem(p.at, "a :children section holds one group name per line", "%q is not a group name", text)
	}
	p.pending = append(p.pending, reference{at: p.at, parent: p.group.Name, name: match[1]})
	return p.adoptDefined()
}

// adoptDefined ties to their parents the children that are defined by now. Doing it as soon as possible gives a parent's
// hosts the order of the file.
func (p *iniParser) adoptDefined() error {
	var waiting []reference
	for _, r := range p.pending {
		switch {
		case !p.defined[r.name]:
			waiting = append(waiting, r)
		case r.parent != "" && !p.inventory.named[r.parent].adopt(p.inventory.named[r.name]):
			return problem(r.at, "", "group %q cannot be a child of %q: it is the same group or above it", r.name, r.parent)
		}
	}
	p.pending = waiting
	return nil
}

// resolve refuses names that the file never defines.
func (p *iniParser) resolve() error {
	if len(p.pending) == 0 {
		return nil
	}
	var known []string
	for _, group := range p.inventory.groups {
		if p.defined[group.Name] {
			known = append(known, group.Name)
		}
	}
	r := p.pending[0]
	hint := nearest.Hint(r.name, known)
	if r.parent == "" {
		return problem(r.at, hint, "section [%s:vars] is about a group that is not defined", r.name)
	}
	return problem(r.at, hint, "[%s:children] names group %q, which is not defined", r.parent, r.name)
}

func (p *iniParser) variable(text string) error {
	key, value, ok := strings.Cut(text, "=")
	if !ok {
		return problem(p.at, "a :vars section holds lines of name=value", "%q has no =", text)
	}
	key = strings.TrimSpace(key)
	typed := parseLiteral(strings.TrimSpace(value))
	p.lookAtNumber(key, typed, p.at)
	return p.setGroupVariable(p.group, key, typed, p.at)
}

func (p *iniParser) host(text string) error {
	parts, cut, err := words.SplitComment(text)
	if err != nil {
		return problem(p.at, "", "%s", err)
	}
	if cut > 0 {
		at := p.at
		at.Column += cut - 1
		p.warn(at, "this # begins a comment, although no blank is before it; put the value in quotes to keep it")
	}
	hosts, err := p.addHosts(parts[0].Text, p.group, p.at)
	if err != nil {
		return err
	}
	for _, part := range parts[1:] {
		at := p.at
		at.Column += part.Column - 1
		key, value, ok := strings.Cut(part.Text, "=")
		if !ok {
			return problem(at, "after the host's name come name=value pairs", "%q has no =", part.Text)
		}
		typed := parseLiteral(value)
		p.lookAtNumber(key, typed, at)
		for _, host := range hosts {
			p.setHostVariable(host, key, typed, at)
		}
	}
	return nil
}

// addHosts adds the hosts that a name, with its ranges and port, stands for.
func (l *loader) addHosts(name string, group *Group, at expression.Position) ([]*Host, error) {
	base, port, _ := address(name)
	switch {
	case strings.HasSuffix(name, ":"):
		return nil, problem(at, "what follows the colon would be the port", "host %q ends in a colon", name)
	case base == "":
		return nil, problem(at, "", "the host has no name")
	case base == "---":
		return nil, problem(at, "give the file the ending .yml", "this looks like the first line of a YAML file")
	}
	names, err := expand(base, maxHosts)
	if err != nil {
		return nil, problem(at, "", "host %q: %s", name, err)
	}
	var hosts []*Host
	for _, n := range names {
		host := l.inventory.addHost(n, at)
		if len(l.inventory.hosts) > maxHosts {
			return nil, problem(at, "", "%s", tooMany(maxHosts))
		}
		group.add(host)
		if port != 0 {
			l.setHostVariable(host, "ansible_port", int64(port), at)
		}
		hosts = append(hosts, host)
	}
	return hosts, nil
}

func (l *loader) setHostVariable(host *Host, key string, value any, at expression.Position) {
	l.look(key, at)
	host.vars.Set(key, value)
}

func (l *loader) setGroupVariable(group *Group, key string, value any, at expression.Position) error {
	if key == "ansible_group_priority" {
		number, ok := value.(int64)
		if !ok {
			return problem(at, "", "ansible_group_priority of group %q is %v and must be an integer", group.Name, value)
		}
		group.priority = int(number)
		return nil
	}
	l.look(key, at)
	group.vars.Set(key, value)
	return nil
}
