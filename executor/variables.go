// SPDX-License-Identifier: MPL-2.0

package executor

import (
	"fmt"
	"sync"

	"drover/internal/expression"
	"drover/inventory"
	"drover/playbooks"
)

// store holds what a run has learned about its hosts. Hosts run at the same time, so every access is locked; the values
// themselves are data that nobody changes in place.
type store struct {
	inventory *inventory.Inventory
	mu        sync.RWMutex
	facts     map[string]*expression.Map // replaced, never changed
	set       map[string]*expression.Map // set_fact and register; replaced, never changed
}

func newStore(inventory *inventory.Inventory) *store {
	return &store{inventory: inventory, facts: map[string]*expression.Map{}, set: map[string]*expression.Map{}}
}

func (s *store) factsOf(host string) *expression.Map {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.facts[host]
}

func (s *store) setOf(host string) *expression.Map {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.set[host]
}

func (s *store) addFacts(host string, facts *expression.Map) { s.merge(s.facts, host, facts) }

func (s *store) assign(host string, variables *expression.Map) { s.merge(s.set, host, variables) }

func (s *store) merge(into map[string]*expression.Map, host string, variables *expression.Map) {
	if variables.Len() == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	merged := into[host].Clone()
	for name, value := range variables.All() {
		merged.Set(name, value)
	}
	into[host] = merged
}

// inventoryVars returns what the inventory says of a host.
func (s *store) inventoryVars(name string) *expression.Map {
	host, ok := s.inventory.Host(name)
	if !ok {
		return nil
	}
	return s.inventory.Vars(host)
}

// join makes a host a member of groups for the rest of the run.
func (s *store) join(name string, groups []string) error {
	host, ok := s.inventory.Host(name)
	if !ok {
		return nil
	}
	for _, group := range groups {
		if _, err := s.inventory.AddToGroup(host, group); err != nil {
			return fmt.Errorf("add %s to group %s: %w", name, group, err)
		}
	}
	return nil
}

func (s *store) has(name string) bool {
	_, ok := s.inventory.Host(name)
	return ok
}

func (s *store) hostNames() []string { return hostNames(s.inventory.Hosts()) }

func (s *store) hostGroups(name string) []string {
	host, ok := s.inventory.Host(name)
	if !ok {
		return nil
	}
	return s.inventory.GroupNames(host)
}

// groupHosts lists the hosts of a group in inventory order.
func (s *store) groupHosts(group string) []string {
	members, _ := s.inventory.Group(group)
	return hostNames(inventory.Restrict(s.inventory.Hosts(), members))
}

func hostNames(hosts []*inventory.Host) []string {
	names := make([]string, len(hosts))
	for i, host := range hosts {
		names[i] = host.Name
	}
	return names
}

// texts turns strings into a list value.
func texts(items []string) []any {
	list := make([]any, len(items))
	for i, item := range items {
		list[i] = item
	}
	return list
}

// layer is a dictionary of a playbook whose values are rendered when they are looked up.
type layer map[string]*playbooks.Value

func newLayer(dictionary *playbooks.Value) layer {
	if dictionary == nil || dictionary.Form != playbooks.FormDict {
		return nil
	}
	l := make(layer, len(dictionary.Pairs))
	for _, pair := range dictionary.Pairs {
		l[pair.Key] = pair.Value
	}
	return l
}
