// SPDX-License-Identifier: MPL-2.0

// Package inventory reads who there is: hosts, groups and their variables, from the files that Ansible reads.
//
// A source is an INI or YAML file, a directory of such files, or a list of names with a comma in it ("h1,h2,"). All
// sources become one Inventory, in which every group descends from "all" and every host without a group of its own is
// in "ungrouped". Files in group_vars and host_vars, beside a source and beside the playbook, add variables. Values
// keep their templates as text; whoever runs a task renders them.
//
// The package only reads files. It never connects, runs a program or looks at the environment: inventory scripts,
// plugin configurations and vault files are refused with a message that says so.
package inventory

import (
	"slices"
	"sync"

	"drover/internal/expression"
)

// Names of the two groups that always exist.
const (
	groupAll       = "all"
	groupUngrouped = "ungrouped"
)

// maxHosts bounds an inventory, so that a mistyped range cannot take all memory.
const maxHosts = 100_000

// Options say what to load.
type Options struct {
	// Sources in the order given; a later one overrides variables of an earlier one.
	Sources []string
	// PlaybookDir is where the playbook lies, for its group_vars and host_vars; "": none.
	PlaybookDir string
}

// Inventory is what the sources say. Its methods may be called from several goroutines.
type Inventory struct {
	mu     sync.RWMutex
	hosts  []*Host
	byName map[string]*Host
	groups []*Group
	named  map[string]*Group
	files  *varsFiles
	merged map[*Host]*expression.Map // cache of Vars
}

// Host is one machine by its inventory name.
type Host struct {
	Name string
	// At is where the host was named first.
	At expression.Position

	vars   *expression.Map
	groups []*Group // direct ones
}

// Group is a named set of hosts and of further groups.
type Group struct {
	Name string
	At   expression.Position

	priority int
	depth    int // longest way from "all", which is what decides whose variables win
	vars     *expression.Map
	hosts    []*Host // direct ones
	children []*Group
	parents  []*Group
}

// Load reads all sources. An error names file, line and column; warnings say what was read but is probably not meant.
func Load(options Options) (*Inventory, []Warning, error) {
	l := &loader{inventory: newInventory()}
	for _, source := range options.Sources {
		if err := l.source(source); err != nil {
			return nil, l.warnings, err
		}
	}
	l.reconcile()
	files, err := l.findVars(options)
	if err != nil {
		return nil, l.warnings, err
	}
	l.inventory.files = files
	return l.inventory, l.warnings, nil
}

func newInventory() *Inventory {
	inv := &Inventory{byName: map[string]*Host{}, named: map[string]*Group{}, merged: map[*Host]*expression.Map{}}
	all, ungrouped := inv.addGroup(groupAll, expression.Position{}), inv.addGroup(groupUngrouped, expression.Position{})
	all.adopt(ungrouped)
	return inv
}

// Hosts returns all hosts in the order in which the sources name them first.
func (inv *Inventory) Hosts() []*Host {
	inv.mu.RLock()
	defer inv.mu.RUnlock()
	return slices.Clone(inv.hosts)
}

// Host finds a host by its name.
func (inv *Inventory) Host(name string) (*Host, bool) {
	inv.mu.RLock()
	defer inv.mu.RUnlock()
	host, ok := inv.byName[name]
	return host, ok
}

// Group returns the hosts of a group and of the groups below it, the group's own hosts first.
func (inv *Inventory) Group(name string) ([]*Host, bool) {
	inv.mu.RLock()
	defer inv.mu.RUnlock()
	group, ok := inv.named[name]
	if !ok {
		return nil, false
	}
	return group.all(), true
}

// GroupNames returns the sorted names of the groups that a host is in, directly or not, without "all": Ansible's
// group_names.
func (inv *Inventory) GroupNames(host *Host) []string {
	inv.mu.RLock()
	defer inv.mu.RUnlock()
	var names []string
	for _, group := range host.ancestry() {
		if group.Name != groupAll {
			names = append(names, group.Name)
		}
	}
	slices.Sort(names)
	return names
}

// Groups returns the names of the hosts of every group: Ansible's `groups` variable.
func (inv *Inventory) Groups() *expression.Map {
	inv.mu.RLock()
	defer inv.mu.RUnlock()
	groups := expression.NewMap()
	for _, group := range inv.groups {
		groups.Set(group.Name, hostNames(group.all()))
	}
	return groups
}

// AddToGroup puts a host into a group for the rest of the run and makes the group when it is new. Variables of that
// group (its group_vars files too) hold for the host from then on. It reports whether anything changed.
func (inv *Inventory) AddToGroup(host *Host, name string) (changed bool, err error) {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	group, ok := inv.named[name]
	if ok && slices.Contains(host.groups, group) {
		return false, nil
	}
	if !ok {
		if err := inv.files.loadGroup(name); err != nil {
			return false, err
		}
		group = inv.addGroup(name, expression.Position{})
		inv.named[groupAll].adopt(group)
	}
	group.add(host)
	if name != groupAll && name != groupUngrouped {
		inv.named[groupUngrouped].remove(host)
	}
	inv.measure()
	delete(inv.merged, host)
	return true, nil
}

func (inv *Inventory) addGroup(name string, at expression.Position) *Group {
	if group, ok := inv.named[name]; ok {
		return group
	}
	group := &Group{Name: name, At: at, priority: 1, vars: expression.NewMap()}
	inv.named[name] = group
	inv.groups = append(inv.groups, group)
	return group
}

func (inv *Inventory) addHost(name string, at expression.Position) *Host {
	if host, ok := inv.byName[name]; ok {
		return host
	}
	host := &Host{Name: name, At: at, vars: expression.NewMap()}
	inv.byName[name] = host
	inv.hosts = append(inv.hosts, host)
	return host
}

// measure sets the depth of every group. The groups have no cycle: adopt refuses it.
func (inv *Inventory) measure() {
	for _, group := range inv.groups {
		group.depth = 0
	}
	waiting := map[*Group]int{}
	for _, group := range inv.groups {
		waiting[group] = len(group.parents)
	}
	var visit func(group *Group)
	visit = func(group *Group) {
		for _, child := range group.children {
			child.depth = max(child.depth, group.depth+1)
			if waiting[child]--; waiting[child] == 0 {
				visit(child)
			}
		}
	}
	visit(inv.named[groupAll])
}

// adopt makes child a child of g. It reports false when that would close a circle.
func (g *Group) adopt(child *Group) bool {
	if g == child || g.below(child) {
		return false
	}
	if !slices.Contains(g.children, child) {
		g.children = append(g.children, child)
		child.parents = append(child.parents, g)
	}
	return true
}

// below tells whether g descends from ancestor.
func (g *Group) below(ancestor *Group) bool {
	return slices.Contains(ancestors([]*Group{g}), ancestor)
}

func (g *Group) add(host *Host) {
	if !slices.Contains(host.groups, g) {
		g.hosts = append(g.hosts, host)
		host.groups = append(host.groups, g)
	}
}

func (g *Group) remove(host *Host) {
	g.hosts = slices.DeleteFunc(slices.Clone(g.hosts), func(h *Host) bool { return h == host })
	host.groups = slices.DeleteFunc(slices.Clone(host.groups), func(other *Group) bool { return other == g })
}

// all returns the hosts of a group and of its descendants, level by level.
func (g *Group) all() []*Host {
	var hosts []*Host
	seen := map[*Host]bool{}
	for _, group := range reachable([]*Group{g}, func(g *Group) []*Group { return g.children }) {
		for _, host := range group.hosts {
			if !seen[host] {
				seen[host] = true
				hosts = append(hosts, host)
			}
		}
	}
	return hosts
}

// ancestry returns the groups that a host is in, directly or not.
func (h *Host) ancestry() []*Group { return ancestors(h.groups) }

func ancestors(groups []*Group) []*Group {
	return reachable(groups, func(g *Group) []*Group { return g.parents })
}

// reachable walks breadth first and returns each group once, the starting ones first.
func reachable(from []*Group, next func(*Group) []*Group) []*Group {
	found := slices.Clone(from)
	seen := map[*Group]bool{}
	for _, group := range found {
		seen[group] = true
	}
	for i := 0; i < len(found); i++ {
		for _, group := range next(found[i]) {
			if !seen[group] {
				seen[group] = true
				found = append(found, group)
			}
		}
	}
	return found
}

func hostNames(hosts []*Host) []any {
	names := make([]any, len(hosts))
	for i, host := range hosts {
		names[i] = host.Name
	}
	return names
}
