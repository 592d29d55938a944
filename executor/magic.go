// SPDX-License-Identifier: MPL-2.0

package executor

import (
	"path/filepath"
	"strings"

	"drover/internal/expression"
)

// magic answers the variables that the run itself defines.
func (s *scope) magic(name string) (any, bool) {
	switch name {
	case "omit":
		return s.run.omit, true
	case "groups":
		return s.run.store.inventory.Groups(), true
	case "hostvars":
		return hostVars{s}, true
	case "ansible_check_mode":
		return s.run.Check, true
	case "ansible_diff_mode":
		return s.run.Diff, true
	case "ansible_forks":
		return int64(s.run.forks()), true
	case "playbook_dir":
		return directoryOf(s.run.Playbook.File), true
	case "inventory_dir":
		return s.run.InventoryDir, true
	}
	if value, ok := s.magicOfPlay(name); ok {
		return value, true
	}
	return s.magicOfHost(name)
}

func (s *scope) magicOfPlay(name string) (any, bool) {
	if s.view == nil {
		return nil, false
	}
	switch name {
	case "ansible_play_name":
		return s.view.name, true
	case "ansible_play_hosts", "play_hosts":
		return texts(s.view.left), true
	case "ansible_play_hosts_all":
		return texts(s.view.all), true
	case "ansible_play_batch":
		return texts(s.view.batch), true
	}
	return nil, false
}

func (s *scope) magicOfHost(name string) (any, bool) {
	if s.host == "" {
		return nil, false
	}
	switch name {
	case "inventory_hostname":
		return s.host, true
	case "inventory_hostname_short":
		short, _, _ := strings.Cut(s.host, ".")
		return short, true
	case "group_names":
		return texts(s.run.store.hostGroups(s.host)), true
	case "ansible_facts":
		facts := s.run.store.factsOf(s.host)
		if facts == nil {
			facts = expression.NewMap()
		}
		return facts, true
	}
	return nil, false
}

func directoryOf(file string) string {
	directory, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return filepath.Dir(file)
	}
	return directory
}
