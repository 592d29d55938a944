// SPDX-License-Identifier: MPL-2.0

package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"drover/internal/bounded"
	"drover/internal/console"
	"drover/internal/event"
	"drover/internal/secret"
)

// fleetFlags say which hosts, and how they are reached. Names are Ansible's and OpenSSH's.
type fleetFlags struct {
	inventories        []string
	limit              string
	given              func(flag string) bool // whether it stands on the command line
	extraVars          []string
	user               string
	privateKey         string
	sshCommonArgs      string
	sshConfig          string
	timeout            int
	forks              int
	askBecomePassword  bool
	becomePasswordFile string
	unheld             bool // refuse hosts that another run holds, without holding them
	acceptNew          bool
	verbosity          int
	output             string
	color              string
}

func (f *fleetFlags) register(c *cobra.Command) {
	flags := c.Flags()
	f.given = flags.Changed
	flags.StringArrayVarP(&f.inventories, "inventory", "i", nil, "`INVENTORY`: a file, a directory, or hosts with a comma behind each (web1,web2,); may be given more than once (default: ANSIBLE_INVENTORY)")
	flags.StringVarP(&f.limit, "limit", "l", "", "only the hosts of this `PATTERN`, such as s1,c3 or 'all:!c7'")
	flags.StringArrayVarP(&f.extraVars, "extra-vars", "e", nil, "`VARIABLES`: key=value, JSON or YAML, or @FILE; may be given more than once")
	flags.StringVarP(&f.user, "user", "u", "", "log in as this `USER` where the inventory does not say")
	flags.StringVar(&f.privateKey, "private-key", "", "log in with the private key in this `FILE`")
	flags.StringVar(&f.sshCommonArgs, "ssh-common-args", "", "`OPTIONS` for SSH, such as '-J bastion.example.net'")
	flags.StringVarP(&f.sshConfig, "ssh-config", "F", "", "SSH client configuration `FILE` to read instead of ~/.ssh/config")
	flags.IntVarP(&f.timeout, "timeout", "T", 10, "`SECONDS` that connecting to a host may take")
	flags.IntVarP(&f.forks, "forks", "f", 20, "`N` hosts are worked on at once")
	flags.BoolVarP(&f.askBecomePassword, "ask-become-pass", "K", false, "ask for the sudo password")
	flags.StringVar(&f.becomePasswordFile, "become-password-file", "", "read the sudo password from this `FILE`")
	flags.BoolVar(&f.acceptNew, "accept-new", false, "store the host keys of hosts that known_hosts does not know, instead of refusing them")
	flags.CountVarP(&f.verbosity, "verbose", "v", "say more; -vv even more")
	flags.StringVar(&f.output, "output", "text", "`FORMAT`: text, or json, which is one line for what was found and one for each event of a run")
	flags.StringVar(&f.color, "color", "auto", "`WHEN`: auto, always or never")
	_ = c.RegisterFlagCompletionFunc("limit", f.completeHosts)
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("color", cobra.FixedCompletions([]string{"auto", "always", "never"}, cobra.ShellCompDirectiveNoFileComp))
}

// check refuses what cannot work before anything is read.
func (f *fleetFlags) check(s streams) error {
	if len(f.inventories) == 0 {
		if given := s.getenv("ANSIBLE_INVENTORY"); given != "" {
			f.inventories = []string{given}
		} else {
			return usageError("no inventory given: say -i FILE, or -i host1,host2,")
		}
	}
	if f.output != "text" && f.output != "json" {
		return usageError("--output is text or json, not %q", f.output)
	}
	if f.color != "auto" && f.color != "always" && f.color != "never" {
		return usageError("--color is auto, always or never, not %q", f.color)
	}
	if f.forks < 1 {
		return usageError("--forks must be at least 1, not %d", f.forks)
	}
	if f.timeout < 1 {
		return usageError("--timeout must be at least 1 second, not %d", f.timeout)
	}
	return nil
}

// inventoryError is the error of reading the inventory: a mistake in the command line where a source is not there at all.
func (f *fleetFlags) inventoryError(err error) error {
	for _, source := range f.inventories {
		if _, missing := os.Stat(source); errors.Is(missing, fs.ErrNotExist) && !strings.Contains(source, ",") {
			return usageError("%w", err)
		}
	}
	return err
}

// colored follows the conventions of NO_COLOR and of terminals without colour.
func (f *fleetFlags) colored(s streams) bool {
	switch f.color {
	case "always":
		return true
	case "never":
		return false
	}
	return s.getenv("NO_COLOR") == "" && s.getenv("ANSIBLE_NOCOLOR") == "" && s.getenv("TERM") != "dumb" && terminal(s.out)
}

// sink is where the events of a run go; the second result ends it.
func (f *fleetFlags) sink(s streams) (event.Sink, func()) {
	if f.output == "json" {
		return console.JSON(s.out), func() {}
	}
	return console.Waiting(console.Lines(s.out, s.err, f.lines(s)), s.err, f.lines(s))
}

func (f *fleetFlags) lines(s streams) console.Options {
	return console.Options{Color: f.colored(s), Verbosity: f.verbosity, Width: width(s)}
}

func width(s streams) int {
	if file, ok := s.out.(*os.File); ok {
		if columns, _, err := term.GetSize(int(file.Fd())); err == nil {
			return min(columns, 120)
		}
	}
	return 80
}

// becomePassword asks for, or reads, the sudo password; empty when none was asked for.
func (f *fleetFlags) becomePassword(s streams) (secret.Text, error) {
	switch {
	case f.becomePasswordFile != "":
		text, err := readInput(f.becomePasswordFile)
		if err != nil {
			return secret.Text{}, usageError("--become-password-file: read the sudo password: %w", err)
		}
		return secret.New(strings.TrimRight(string(text), "\r\n")), nil
	case f.askBecomePassword:
		return askSecret(s, "sudo password: ")
	}
	return secret.Text{}, nil
}

// largestInput bounds a file that a flag or an expression names, in bytes.
const largestInput = 4 << 20

func readInput(path string) ([]byte, error) { return bounded.ReadFile(path, largestInput) }

// directories of the person who runs drover, by the XDG rules.
func stateDir(s streams) string {
	return filepath.Join(cmp.Or(s.getenv("XDG_STATE_HOME"), filepath.Join(s.getenv("HOME"), ".local", "state")), "drover")
}

// runsDir has a directory for each run.
func runsDir(s streams) string { return filepath.Join(stateDir(s), "runs") }

func cacheDir(s streams) string {
	return filepath.Join(cmp.Or(s.getenv("XDG_CACHE_HOME"), filepath.Join(s.getenv("HOME"), ".cache")), "drover")
}

// newRunID names a run so that runs sort by time.
func newRunID(now time.Time) string {
	return fmt.Sprintf("%s-%d", now.UTC().Format("20060102T150405"), os.Getpid())
}
