// SPDX-License-Identifier: MPL-2.0

package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func usageError(format string, args ...any) error {
	return &exit{exitUsage, fmt.Errorf(format, args...)}
}

// flagError is what a command says of a flag that it does not know, or whose value it does not take.
func flagError(c *cobra.Command, err error) error {
	var empty emptyError
	if errors.As(err, &empty) {
		err = empty
	}
	return usageError("%w (see `%s --help`)", err, c.CommandPath())
}

// excluded is how cobra 1 says that flags exclude one another.
var excluded = regexp.MustCompile(`^if any flags in the group \[.*\] are set none of the others can be; \[(.*)\] were all set$`)

// inWords says what cobra has refused.
func inWords(err error) string {
	found := excluded.FindStringSubmatch(err.Error())
	if found == nil {
		return err.Error()
	}
	flags := "--" + strings.Join(strings.Fields(found[1]), " and --")
	if flags == "--binary and --via" {
		return flags + " do not go together: the file is of one version, and each stop on the way needs its own; name --binary-dir DIR or --mirror URL instead, or no source"
	}
	return flags + " do not go together: give one of them"
}

// refine gives a command and those below it one way to refuse wrong arguments, lets no flag be empty, and notes when one has
// begun: whatever cobra refuses before that is a mistake in the command line.
func refine(command *cobra.Command, begun *bool) {
	for _, child := range command.Commands() {
		refine(child, begun)
	}
	refuseEmpty(command.Flags())
	refuseEmpty(command.PersistentFlags())
	if command.HasSubCommands() {
		command.Args = func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			names := make([]string, 0, len(c.Commands()))
			for _, child := range c.Commands() {
				names = append(names, child.Name())
			}
			return usageError("there is no command %q%s (see `%s --help`)", c.CommandPath()+" "+args[0], nearestHint(args[0], names), c.CommandPath())
		}
		command.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
		return
	}
	if check := command.Args; check != nil {
		command.Args = func(c *cobra.Command, args []string) error {
			err := check(c, args)
			var told *exit
			switch {
			case err == nil, errors.As(err, &told):
				return err
			case len(args) == 0:
				return usageError("an argument is missing: the form is `%s`", c.UseLine())
			}
			return usageError("these arguments do not fit: %s; the form is `%s`", strings.Join(args, " "), c.UseLine())
		}
	}
	if work := command.RunE; work != nil {
		command.RunE = func(c *cobra.Command, args []string) error {
			*begun = true
			return work(c, args)
		}
	}
}

// refuseEmpty makes all flags that take text refuse to be given without any: a shell variable that is not set must not stand for
// the default, or for all hosts.
func refuseEmpty(flags *pflag.FlagSet) {
	flags.VisitAll(func(flag *pflag.Flag) {
		switch flag.Value.Type() {
		case "stringSlice", "stringArray":
			flag.DefValue = "" // the help knows only the library's own types by "[]" as those without a default
			fallthrough
		case "string":
			flag.Value = filled{flag.Value, flag.Name}
		}
	})
}

// filled is the value of a flag that refuses to be empty.
type filled struct {
	pflag.Value
	flag string
}

func (f filled) Set(text string) error {
	parts := []string{text}
	if f.Type() == "stringSlice" {
		parts = strings.Split(text, ",")
	}
	if slices.ContainsFunc(parts, func(part string) bool { return strings.TrimSpace(part) == "" }) {
		return emptyError(f.flag)
	}
	return f.Value.Set(text)
}

// emptyError names a flag that was given without a value.
type emptyError string

func (e emptyError) Error() string {
	return "--" + string(e) + " is empty (is a shell variable not set?): give it a value, or leave the flag out"
}
