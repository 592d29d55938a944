// SPDX-License-Identifier: MPL-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"drover/playbooks"
)

func newPlaybookCommand(s streams) *cobra.Command {
	command := &cobra.Command{
		Use:   "playbook",
		Short: "The ready playbooks, and checking your own",
		Example: `  drover playbook list
  drover playbook eject upgrade our-upgrade.yml
  drover playbook check our-upgrade.yml`,
	}
	command.AddCommand(
		&cobra.Command{
			Use: "list", Short: "List the ready playbooks", Args: cobra.NoArgs,
			Example: "  drover playbook list",
			RunE: func(*cobra.Command, []string) error {
				table := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
				for _, entry := range playbooks.Library() {
					fmt.Fprintf(table, "%s\t%s\n", entry.Name, entry.Short)
				}
				return table.Flush()
			},
		},
		&cobra.Command{
			Use: "show NAME", Short: "Print a ready playbook", Args: cobra.ExactArgs(1),
			Example:           "  drover playbook show upgrade",
			ValidArgsFunction: completeLibrary,
			RunE: func(_ *cobra.Command, args []string) error {
				text, err := playbooks.Open(args[0])
				if err != nil {
					return err
				}
				_, err = s.out.Write(text)
				return err
			},
		},
		&cobra.Command{
			Use: "eject NAME FILE", Short: "Copy a ready playbook to a file, to make it your own", Args: cobra.ExactArgs(2),
			Example:           "  drover playbook eject upgrade our-upgrade.yml",
			ValidArgsFunction: completeLibrary,
			RunE:              func(_ *cobra.Command, args []string) error { return ejectPlaybook(args[0], args[1]) },
		},
		&cobra.Command{
			Use: "check FILE...", Short: "Check playbooks without running them", Args: cobra.MinimumNArgs(1),
			Example: "  drover playbook check site.yml web.yml",
			RunE:    func(_ *cobra.Command, args []string) error { return checkPlaybooks(s, args) },
		},
	)
	return command
}

// ejectPlaybook writes a ready playbook to a new file.
func ejectPlaybook(name, path string) error {
	text, err := playbooks.Open(name)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists already and is left as it is", path)
	}
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	return errors.Join(err, file.Close())
}

// checkPlaybooks loads all files, so that everything that is wrong is named at once.
func checkPlaybooks(s streams, files []string) error {
	var problems []error
	for _, file := range files {
		_, warnings, err := playbooks.Load(file, playbooks.Options{})
		for _, warning := range warnings {
			s.warn("%s", warning)
		}
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}
