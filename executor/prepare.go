// SPDX-License-Identifier: MPL-2.0

package executor

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"drover/internal/bounded"
	"drover/internal/event"
	"drover/inventory"
	"drover/playbooks"
)

// prepare renders what plays say of themselves and refuses what cannot work, before anything is touched.
func (r *run) prepare() ([]*playRun, error) {
	if r.Limit != "" {
		hosts, err := r.Inventory.Limit(r.Limit)
		if err != nil {
			return nil, err
		}
		r.limit = map[string]bool{}
		for _, host := range hosts {
			r.limit[host.Name] = true
		}
	}
	if len(r.Playbook.Plays) == 0 {
		return nil, fmt.Errorf("%s has no plays", r.Playbook.File)
	}
	var plays []*playRun
	var problems []error
	matched := false
	for _, play := range r.Playbook.Plays {
		p, err := r.preparePlay(play)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		hosts, err := p.hosts()
		problems = append(problems, err)
		matched = matched || p.mayBeEmpty || len(hosts) > 0
		plays = append(plays, p)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	if !matched {
		return nil, fmt.Errorf("no play of %s has a host left under --limit %s", r.Playbook.File, r.Limit)
	}
	return plays, nil
}

func (r *run) preparePlay(play *playbooks.Play) (*playRun, error) {
	v := &view{play: play, vars: newLayer(play.Vars)}
	p := &playRun{r: r, play: play, view: v}
	s := r.newScope(r.hard, v, "", nil)
	if err := p.loadVars(s); err != nil {
		return nil, err
	}
	// The layers have changed since the scope was made, so nothing may be cached from before.
	s = r.newScope(r.hard, v, "", nil)
	var err error
	if p.pattern, err = patternOf(s, play); err != nil {
		return nil, err
	}
	if v.name, err = s.text("name", play.Name); err != nil {
		return nil, err
	}
	if v.name == "" {
		v.name = p.pattern
	}
	if p.serial, err = serialOf(s, play.Serial); err != nil {
		return nil, err
	}
	if play.MaxFailPercentage != nil {
		percent, err := s.number("max_fail_percentage", play.MaxFailPercentage, -1)
		if err != nil {
			return nil, err
		}
		if percent >= 0 { // not one that renders to omit
			p.maxFail = &percent
		}
	}
	p.mayBeEmpty = namesAny(p.pattern, r.MadeGroups)
	return p, p.indexHandlers(s)
}

// serialOf renders the sizes of batches; a value may be a list itself (serial: "{{ batches }}").
func serialOf(s *scope, values []*playbooks.Value) ([]any, error) {
	var serial []any
	for _, value := range values {
		rendered, err := s.render(value)
		if err != nil {
			return nil, fmt.Errorf("serial: %w", err)
		}
		list, ok := rendered.([]any)
		if !ok {
			list = []any{rendered}
		}
		for _, item := range list {
			if _, err := batchSize(item, 1); err != nil {
				return nil, fmt.Errorf("%s: %w", value.At, err)
			}
		}
		serial = append(serial, list...)
	}
	return serial, nil
}

// largestVars bounds a file of variables, in bytes.
const largestVars = 4 << 20

// loadVars reads vars_files; a relative name is beside the playbook.
func (p *playRun) loadVars(s *scope) error {
	for _, value := range p.play.VarsFiles {
		name, err := s.text("vars_files", value)
		if err != nil {
			return err
		}
		if !filepath.IsAbs(name) {
			name = filepath.Join(directoryOf(p.r.Playbook.File), name)
		}
		variables, err := readVars(name)
		if err != nil {
			return fmt.Errorf("%s: vars_files: %w", value.At, err)
		}
		keepWritten(p.r.record.secrets, variables)
		p.view.files = append(p.view.files, newLayer(variables))
	}
	return nil
}

func readVars(name string) (*playbooks.Value, error) {
	data, err := bounded.ReadFile(name, largestVars)
	if err != nil {
		return nil, err
	}
	return playbooks.ParseVariables(name, data)
}

func patternOf(s *scope, play *playbooks.Play) (string, error) {
	if play.Hosts == nil {
		return "", fmt.Errorf("%s: the play has no hosts", play.At)
	}
	rendered, err := s.render(play.Hosts)
	if err != nil {
		return "", fmt.Errorf("hosts: %w", err)
	}
	list, ok := rendered.([]any)
	if !ok {
		list = []any{rendered}
	}
	patterns := make([]string, len(list))
	for i, item := range list {
		if patterns[i], ok = item.(string); !ok {
			return "", fmt.Errorf("%s: hosts: %v is not a pattern", play.Hosts.At, item)
		}
	}
	return strings.Join(patterns, ","), nil
}

// hosts are those that the play is over now, in inventory order; none is an error, unless the play is over a group that
// the run makes, or the limit takes all of them.
func (p *playRun) hosts() ([]string, error) {
	r := p.r
	matched, _, err := r.Inventory.Match(p.pattern)
	var none *inventory.NoHostsError
	switch {
	case errors.As(err, &none) && p.mayBeEmpty:
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("%s: play %q: %w", p.play.At, p.view.name, err)
	}
	chosen := map[string]bool{}
	for _, host := range matched {
		chosen[host.Name] = r.limit == nil || r.limit[host.Name]
	}
	var hosts []string
	for _, name := range r.store.hostNames() {
		if chosen[name] && r.gone[name] == "" {
			hosts = append(hosts, name)
		}
	}
	return hosts, nil
}

// namesAny tells whether one of the terms that add hosts to a pattern is one of the groups.
func namesAny(pattern string, groups []string) bool {
	for _, term := range strings.FieldsFunc(pattern, func(r rune) bool { return r == ',' || r == ':' || r == ' ' }) {
		name, _, _ := strings.Cut(strings.TrimPrefix(term, "&"), "[")
		if slices.Contains(groups, name) {
			return true
		}
	}
	return false
}

// tell records an event about the play.
func (p *playRun) tell(kind event.Kind, hosts []string, message string) {
	_ = p.r.emit(event.Event{Kind: kind, Play: p.view.name, Batch: hosts, Message: message})
}
