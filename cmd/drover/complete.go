// SPDX-License-Identifier: MPL-2.0

package main

import (
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"drover/inventory"
	"drover/playbooks"
)

// completeHosts offers the hosts and groups of the inventory for the last term of a pattern.
func (f *fleetFlags) completeHosts(_ *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
	sources := f.inventories
	if given := os.Getenv("ANSIBLE_INVENTORY"); len(sources) == 0 && given != "" {
		sources = []string{given}
	}
	read, _, err := inventory.Load(inventory.Options{Sources: sources})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	at := strings.LastIndexAny(begun, ":,!&") + 1
	names := hostNames(read.Hosts())
	names = append(names, slices.Sorted(maps.Keys(groupsOf(read)))...)
	return withPrefix(begun[:at], begun[at:], names), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

func groupsOf(read *inventory.Inventory) map[string]bool {
	groups := map[string]bool{}
	for name := range read.Groups().All() {
		groups[name] = true
	}
	return groups
}

// withPrefix lists the names that begin so, behind what stands before them on the line.
func withPrefix(before, begun string, names []string) []string {
	var fitting []string
	for _, name := range names {
		if strings.HasPrefix(name, begun) {
			fitting = append(fitting, before+name)
		}
	}
	return fitting
}

func libraryNames() []string {
	var names []string
	for _, entry := range playbooks.Library() {
		names = append(names, entry.Name)
	}
	return names
}

// completePlaybooks offers the ready playbooks, and files.
func completePlaybooks(_ *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return withPrefix("", begun, libraryNames()), cobra.ShellCompDirectiveDefault
}

// completeLibrary offers the ready playbooks, then files.
func completeLibrary(_ *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return withPrefix("", begun, libraryNames()), cobra.ShellCompDirectiveNoFileComp
}

// completeTags offers the tags of the playbook that stands on the line already.
func completeTags(_ *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(args) != 1 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	book, _, err := playbooks.Load(args[0], playbooks.Options{})
	if err != nil {
		book, _, err = playbooks.LoadLibrary(args[0], playbooks.Options{})
	}
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	at := strings.LastIndex(begun, ",") + 1
	return withPrefix(begun[:at], begun[at:], tagsOf(book)), cobra.ShellCompDirectiveNoFileComp
}

// tagsOf lists the tags of a playbook's tasks, sorted.
func tagsOf(book *playbooks.Playbook) []string {
	tags := map[string]bool{}
	var visit func(tasks []*playbooks.Task)
	visit = func(tasks []*playbooks.Task) {
		for _, task := range tasks {
			for _, tag := range task.Tags {
				tags[tag] = true
			}
			visit(task.Block)
			visit(task.Rescue)
			visit(task.Always)
		}
	}
	for _, play := range book.Plays {
		for _, tag := range play.Tags {
			tags[tag] = true
		}
		for _, section := range [][]*playbooks.Task{play.PreTasks, play.Tasks, play.PostTasks} {
			visit(section)
		}
	}
	return slices.Sorted(maps.Keys(tags))
}
