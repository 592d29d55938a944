// SPDX-License-Identifier: MPL-2.0

package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"drover/internal/expression"
	"drover/internal/modules"
)

func newDocCommand(s streams) *cobra.Command {
	var asJSON, filters, snippet bool
	command := &cobra.Command{
		Use:   "doc [MODULE...]",
		Short: "Explain what tasks can do: modules, filters and tests",
		Example: `  drover doc
  drover doc nomad_swap
  drover doc --filters`,
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return modules.Names(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, names []string) error {
			if filters {
				return listFilters(s)
			}
			if len(names) == 0 {
				return listModules(s, asJSON)
			}
			for _, name := range names {
				module, ok := modules.Find(name)
				if !ok {
					return usageError("there is no module %q%s", name, nearestHint(name, modules.Names()))
				}
				if err := explain(s, module, asJSON, snippet); err != nil {
					return err
				}
			}
			return nil
		},
	}
	command.Flags().BoolVarP(&asJSON, "json", "j", false, "as JSON")
	command.Flags().BoolVarP(&snippet, "snippet", "s", false, "only a task to paste into a playbook")
	command.Flags().BoolVar(&filters, "filters", false, "list the filters and tests of expressions")
	return command
}

func explain(s streams, module *modules.Module, asJSON, snippet bool) error {
	switch {
	case asJSON:
		text, err := modules.DescribeJSON(module)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(s.out, string(text))
		return err
	case snippet:
		_, err := fmt.Fprint(s.out, modules.Snippet(module))
		return err
	default:
		_, err := fmt.Fprintln(s.out, modules.Describe(module, width(s)))
		return err
	}
}

func listModules(s streams, asJSON bool) error {
	if asJSON {
		return printJSON(s, modules.Names())
	}
	table := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	for _, module := range modules.Table() {
		fmt.Fprintf(table, "%s\t%s\n", module.Name, module.Short)
	}
	return table.Flush()
}

func listFilters(s streams) error {
	table := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	for _, entry := range expression.Filters() {
		fmt.Fprintf(table, "| %s\t%s\n", entry.Name, entry.Text)
	}
	for _, entry := range expression.Tests() {
		fmt.Fprintf(table, "is %s\t%s\n", entry.Name, entry.Text)
	}
	return table.Flush()
}
