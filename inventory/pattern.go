// SPDX-License-Identifier: MPL-2.0

package inventory

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"drover/internal/bounded"
	"drover/internal/nearest"
)

// Match returns the hosts that the patterns of a play's hosts select. Plain patterns add hosts in the order written, &patterns
// then keep and !patterns take away; with only the latter two, all hosts come first. A name that exists nowhere is
// a warning. No host at all is a *NoHostsError.
func (inv *Inventory) Match(patterns ...string) ([]*Host, []Warning, error) {
	inv.mu.RLock()
	defer inv.mu.RUnlock()
	m := &matcher{inventory: inv}
	hosts, err := m.evaluate(split(patterns))
	if err != nil {
		return nil, nil, err
	}
	var warnings []Warning
	for _, name := range m.unknown {
		warnings = append(warnings, Warning{Message: unknownName(name, inv)})
	}
	if len(hosts) == 0 {
		return nil, warnings, &NoHostsError{Pattern: strings.Join(patterns, ","), Hint: m.hint()}
	}
	return hosts, warnings, nil
}

// Limit returns the hosts that --limit selects. Unlike Match it refuses a name that exists nowhere: a limit that
// selects less than was meant must not look like success. "@FILE" stands for the patterns in FILE, one per line.
func (inv *Inventory) Limit(pattern string) ([]*Host, error) {
	inv.mu.RLock()
	defer inv.mu.RUnlock()
	patterns, err := readLimitFiles(split([]string{pattern}))
	if err != nil {
		return nil, err
	}
	m := &matcher{inventory: inv}
	hosts, err := m.evaluate(patterns)
	switch {
	case err != nil:
		return nil, fmt.Errorf("--limit: %w", err)
	case len(m.unknown) > 0:
		return nil, fmt.Errorf("--limit: %s", unknownName(m.unknown[0], inv))
	case len(hosts) == 0:
		return nil, &NoHostsError{Pattern: pattern, Hint: "--limit leaves nothing to do"}
	}
	return hosts, nil
}

// Restrict keeps the hosts that are in limit, in their own order.
func Restrict(hosts, limit []*Host) []*Host {
	allowed := map[*Host]bool{}
	for _, host := range limit {
		allowed[host] = true
	}
	var kept []*Host
	for _, host := range hosts {
		if allowed[host] {
			kept = append(kept, host)
		}
	}
	return kept
}

func readLimitFiles(patterns []string) ([]string, error) {
	var all []string
	for _, pattern := range patterns {
		name, isFile := strings.CutPrefix(pattern, "@")
		if !isFile {
			all = append(all, pattern)
			continue
		}
		data, err := bounded.ReadFile(filepath.Clean(name), maxFile)
		if err != nil {
			return nil, fmt.Errorf("--limit %s: %w", pattern, err)
		}
		for line := range strings.Lines(string(data)) {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
				all = append(all, line)
			}
		}
	}
	return all, nil
}

// piece is one pattern in a list with colons between: brackets keep the colons inside them.
var piece = regexp.MustCompile(`(?:[^\s:\[\]]|\[[^\]]*\])+`)

// split takes patterns apart at commas, or at colons where there is no comma and the text is not one address or range.
func split(patterns []string) []string {
	var parts []string
	for _, pattern := range patterns {
		switch {
		case strings.Contains(pattern, ","):
			for _, part := range strings.Split(pattern, ",") {
				parts = append(parts, strings.TrimSpace(part))
			}
		case isAddress(pattern):
			parts = append(parts, pattern)
		case strings.HasPrefix(strings.TrimSpace(pattern), "@"):
			parts = append(parts, strings.TrimSpace(pattern))
		default:
			parts = append(parts, piece.FindAllString(pattern, -1)...)
		}
	}
	return slices.DeleteFunc(parts, func(part string) bool { return part == "" })
}

func isAddress(text string) bool {
	_, _, ok := address(text)
	return ok
}

// matcher evaluates patterns and remembers the names that exist nowhere.
type matcher struct {
	inventory *Inventory
	unknown   []string
}

func (m *matcher) evaluate(patterns []string) ([]*Host, error) {
	var plain, keep, drop []string
	for _, pattern := range patterns {
		switch pattern[0] {
		case '&':
			keep = append(keep, pattern[1:])
		case '!':
			drop = append(drop, pattern[1:])
		default:
			plain = append(plain, pattern)
		}
	}
	if len(plain) == 0 && len(keep)+len(drop) > 0 {
		plain = []string{groupAll}
	}
	var hosts []*Host
	seen := map[*Host]bool{}
	for _, pattern := range plain {
		matched, err := m.one(pattern)
		if err != nil {
			return nil, err
		}
		for _, host := range matched {
			if !seen[host] {
				seen[host] = true
				hosts = append(hosts, host)
			}
		}
	}
	for i, pattern := range append(keep, drop...) {
		matched, err := m.one(pattern)
		if err != nil {
			return nil, err
		}
		keeps, named := i < len(keep), map[*Host]bool{}
		for _, host := range matched {
			named[host] = true
		}
		hosts = slices.DeleteFunc(hosts, func(h *Host) bool { return named[h] != keeps })
	}
	return hosts, nil
}

// subscript is a pattern with [n], [-n], [a:b] or [a:] behind it.
var subscript = regexp.MustCompile(`^(.+)\[(?:(-?[0-9]+)|([0-9]+)([:-])([0-9]*))\]$`)

// one evaluates a pattern without its & or !.
func (m *matcher) one(pattern string) ([]*Host, error) {
	if pattern == "" {
		return nil, errors.New("a pattern is empty behind its & or !")
	}
	if host, ok := m.inventory.byName[pattern]; ok {
		return []*Host{host}, nil
	}
	if pattern[0] == '~' {
		return m.named(pattern)
	}
	parts := subscript.FindStringSubmatch(pattern)
	if parts == nil {
		return m.named(pattern)
	}
	if parts[4] == "-" {
		return nil, fmt.Errorf("pattern %q: write the range as [%s:%s]", pattern, parts[3], parts[5])
	}
	hosts, err := m.named(parts[1])
	if err != nil || len(hosts) == 0 {
		return nil, err
	}
	return slice(pattern, hosts, parts)
}

// slice applies a subscript; both ends of a range count.
func slice(pattern string, hosts []*Host, parts []string) ([]*Host, error) {
	outside := fmt.Errorf("pattern %q: %s has %d hosts, counted from 0", pattern, parts[1], len(hosts))
	if parts[2] != "" {
		i, err := strconv.Atoi(parts[2])
		if i < 0 {
			i += len(hosts)
		}
		if err != nil || i < 0 || i >= len(hosts) {
			return nil, outside
		}
		return hosts[i : i+1], nil
	}
	first, err := strconv.Atoi(parts[3])
	if err != nil {
		return nil, outside
	}
	last := len(hosts) - 1
	if parts[5] != "" {
		if last, err = strconv.Atoi(parts[5]); err != nil {
			return nil, outside
		}
		last = min(last, len(hosts)-1)
	}
	if first > last {
		return nil, nil
	}
	return hosts[first : last+1], nil
}

// named finds groups, and hosts where no group matches or the pattern is a glob or regular expression. Ansible's wildcards also
// match the group "all"; here they do not, so that a* never means every host.
func (m *matcher) named(pattern string) ([]*Host, error) {
	if pattern == "*" {
		pattern = groupAll
	}
	matches, err := compile(pattern)
	if err != nil {
		return nil, err
	}
	wild := pattern[0] == '~' || strings.ContainsAny(pattern, "?*[")
	var hosts []*Host
	seen := map[*Host]bool{}
	add := func(more ...*Host) {
		for _, host := range more {
			if !seen[host] {
				seen[host] = true
				hosts = append(hosts, host)
			}
		}
	}
	found := false
	for _, group := range m.inventory.groups {
		builtIn := group.Name == groupAll || group.Name == groupUngrouped
		if matches(group.Name) && !(wild && builtIn) {
			found = true
			add(group.all()...)
		}
	}
	if !found || wild || strings.Contains(pattern, ".") {
		for _, host := range m.inventory.hosts {
			if matches(host.Name) {
				add(host)
			}
		}
	}
	if !found && len(hosts) == 0 {
		m.unknown = append(m.unknown, pattern)
	}
	return hosts, nil
}

// compile returns the test that a name must pass. A regular expression is anchored at its start only.
func compile(pattern string) (func(string) bool, error) {
	if !strings.ContainsAny(pattern, "~?*[") {
		return func(name string) bool { return name == pattern }, nil
	}
	source, isRegexp := strings.CutPrefix(pattern, "~")
	if isRegexp {
		source = `\A(?:` + source + `)`
	} else {
		source = globSource(pattern)
	}
	compiled, err := regexp.Compile(source)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", pattern, err)
	}
	return compiled.MatchString, nil
}

// globSource turns *, ?, [abc] and [!abc] into a regular expression for the whole name.
func globSource(glob string) string {
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	for i := 0; i < len(glob); i++ {
		switch c := glob[i]; c {
		case '*':
			b.WriteString(`.*`)
		case '?':
			b.WriteByte('.')
		case '[':
			set, length := globSet(glob[i:])
			b.WriteString(set)
			i += length - 1
		default:
			b.WriteString(regexp.QuoteMeta(glob[i : i+1]))
		}
	}
	b.WriteString(`\z`)
	return b.String()
}

// globSet reads a bracket expression; a bracket that is never closed stands for itself.
func globSet(text string) (source string, length int) {
	from := 1
	if strings.HasPrefix(text[1:], "!") {
		from = 2
	}
	// A ] that comes first belongs to the set.
	end := -1
	if from+1 <= len(text) {
		if i := strings.IndexByte(text[min(from+1, len(text)):], ']'); i >= 0 {
			end = from + 1 + i
		}
	}
	if end < 0 {
		return `\[`, 1
	}
	set := strings.NewReplacer(`\`, `\\`, `[`, `\[`, `]`, `\]`, `^`, `\^`, `&`, `\&`, `~`, `\~`).Replace(text[from:end])
	if from == 2 {
		return "[^" + set + "]", end + 1
	}
	return "[" + set + "]", end + 1
}

func (m *matcher) hint() string {
	if len(m.unknown) == 0 {
		return ""
	}
	return unknownName(m.unknown[0], m.inventory)
}

func unknownName(name string, inv *Inventory) string {
	var known []string
	for _, group := range inv.groups {
		known = append(known, group.Name)
	}
	for _, host := range inv.hosts {
		known = append(known, host.Name)
	}
	message := fmt.Sprintf("no host or group is called %q", name)
	if hint := nearest.Hint(name, known); hint != "" {
		message += "; " + hint
	}
	return message
}
