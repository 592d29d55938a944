// SPDX-License-Identifier: MPL-2.0

package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"drover/internal/console"
	"drover/internal/nearest"
	"drover/inventory"
)

func newInventoryCommand(s streams) *cobra.Command {
	var (
		fleet fleetFlags
		list  bool
		graph bool
		host  string
	)
	command := &cobra.Command{
		Use:   "inventory",
		Short: "Show what an inventory says: hosts, groups, variables",
		Example: `  drover inventory -i hosts.ini --graph
  drover inventory -i hosts.ini --list
  drover inventory -i hosts.ini --host web1`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := fleet.check(s); err != nil {
				return err
			}
			read, warnings, err := inventory.Load(inventory.Options{Sources: fleet.inventories})
			for _, warning := range warnings {
				s.warn("%s", warning)
			}
			if err != nil {
				return fleet.inventoryError(err)
			}
			switch {
			case graph:
				text, err := read.Graph("all")
				if err != nil {
					return err
				}
				_, err = fmt.Fprint(s.out, text)
				return err
			case host != "":
				found, ok := read.Host(host)
				if !ok {
					return fmt.Errorf("the inventory has no host %q%s", host, nearestHint(host, hostNames(read.Hosts())))
				}
				return printJSON(s, read.Vars(found))
			default:
				return printJSON(s, read.List())
			}
		},
	}
	fleet.register(command)
	command.Flags().VisitAll(func(flag *pflag.Flag) {
		flag.Hidden = flag.Name != "inventory" // nothing is connected to, and no host left out
	})
	command.Flags().BoolVar(&list, "list", false, "all of it as JSON, in the shape of an Ansible inventory script (the default)")
	command.Flags().BoolVar(&graph, "graph", false, "groups and hosts as a tree")
	command.Flags().StringVar(&host, "host", "", "the variables of one `HOST` as JSON")
	command.MarkFlagsMutuallyExclusive("list", "graph", "host")
	return command
}

func nearestHint(name string, among []string) string {
	if hint := nearest.Hint(name, among); hint != "" {
		return "; " + hint
	}
	return ""
}

func printJSON(s streams, value any) error {
	encoder := console.NewEncoder(s.out)
	encoder.SetIndent("", "    ")
	return encoder.Encode(value)
}
