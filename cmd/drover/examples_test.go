// SPDX-License-Identifier: MPL-2.0

package main

import (
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"drover/internal/words"
)

// TestExamplesAreTaken gives every example of a --help to the command line: command, flags and arguments have to fit. A command is
// explained by examples of its own, and those of the lab by the lab's.
func TestExamplesAreTaken(t *testing.T) {
	var visit func(command *cobra.Command)
	visit = func(command *cobra.Command) {
		t.Run(command.CommandPath(), func(t *testing.T) {
			lines := strings.Split(command.Example, "\n")
			if command.Example == "" {
				if command.Name() != "version" && !strings.HasPrefix(command.CommandPath(), "drover lab ") {
					t.Error("it has no example")
				}
				lines = nil
			}
			for _, line := range lines {
				if !strings.HasPrefix(strings.TrimSpace(line), command.CommandPath()) {
					t.Errorf("%q is no example of it", line)
				}
				if err := takes(t, line); err != nil {
					t.Errorf("%q: %v", line, err)
				}
			}
		})
		for _, child := range command.Commands() {
			visit(child)
		}
	}
	visit(wholeCommand())
}

func wholeCommand() *cobra.Command {
	begun := false
	root := newRoot(streams{in: strings.NewReader(""), out: io.Discard, err: io.Discard, getenv: func(string) string { return "" }})
	refine(root, &begun)
	return root
}

// takes reads a line as the shell and drover would, up to where its command begins to work.
func takes(t *testing.T, line string) error {
	t.Helper()
	line, _, _ = strings.Cut(line, "   #")
	line, _, _ = strings.Cut(line, " > ")
	split, err := words.Split(line)
	if err != nil {
		t.Fatal(err)
	}
	var args []string
	for _, word := range split[1:] {
		args = append(args, word.Text)
	}
	command, flags, err := wholeCommand().Find(args)
	if err != nil {
		return err
	}
	for _, check := range []func() error{
		func() error { return command.ParseFlags(flags) },
		func() error { return command.ValidateArgs(command.Flags().Args()) },
		command.ValidateRequiredFlags, command.ValidateFlagGroups,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}
