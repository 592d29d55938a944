// SPDX-License-Identifier: MPL-2.0

package inventory

import (
	"cmp"
	"slices"

	"drover/internal/expression"
)

// Vars returns the variables of a host as the files give them, merged in Ansible's order, lowest precedence first: what
// the sources say of "all" and then of the other groups; group_vars/all beside the inventory, then beside the playbook;
// group_vars of the other groups, likewise; what the sources say of the host; its host_vars, likewise. Among groups a
// child wins over its parents, then the higher ansible_group_priority, then the later name. A value replaces another
// whole. The map must not be changed.
func (inv *Inventory) Vars(host *Host) *expression.Map {
	inv.mu.RLock()
	merged, ok := inv.merged[host]
	inv.mu.RUnlock()
	if ok {
		return merged
	}
	inv.mu.Lock()
	defer inv.mu.Unlock()
	merged = expression.NewMap()
	for _, layer := range inv.layers(host) {
		for key, value := range layer.All() {
			merged.Set(key, value)
		}
	}
	inv.merged[host] = merged
	return merged
}

// layers returns the dictionaries that make up a host's variables, lowest precedence first.
func (inv *Inventory) layers(host *Host) []*expression.Map {
	all := inv.named[groupAll]
	groups := slices.DeleteFunc(host.ancestry(), func(g *Group) bool { return g == all })
	slices.SortFunc(groups, func(a, b *Group) int {
		return cmp.Or(cmp.Compare(a.depth, b.depth), cmp.Compare(a.priority, b.priority), cmp.Compare(a.Name, b.Name))
	})
	layers := []*expression.Map{all.vars}
	for _, group := range groups {
		layers = append(layers, group.vars)
	}
	layers = append(layers, inv.files.inventoryGroups([]*Group{all})...)
	layers = append(layers, inv.files.playbookGroups([]*Group{all})...)
	layers = append(layers, inv.files.inventoryGroups(groups)...)
	layers = append(layers, inv.files.playbookGroups(groups)...)
	layers = append(layers, host.vars)
	return append(layers, inv.files.hostLayers(host.Name)...)
}
