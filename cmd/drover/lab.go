// SPDX-License-Identifier: MPL-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"drover/internal/lab"
)

// labCommand holds what the verbs of `drover lab` share.
type labCommand struct {
	name        string
	out, errOut io.Writer
}

// newLabCommand makes `drover lab`, real practice hosts on one machine.
func newLabCommand(_ io.Reader, out, errOut io.Writer) *cobra.Command {
	c := &labCommand{out: out, errOut: errOut}
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "Real practice hosts on this machine: systemd, sshd, sudo and Nomad in containers of their own",
		Long: "Practice hosts on this machine, each with systemd as pid 1, sshd, sudo and a real Nomad agent.\n" +
			"All traffic stays in network namespaces that the lab makes: use `drover lab exec -- COMMAND` to reach the hosts.\n\n" +
			"It needs root on Debian. The first one takes some minutes: a Debian root is made, and Nomad is built from its source.",
		Example: "  drover lab up --job\n" +
			"  drover lab status\n" +
			"  drover lab ssh s1\n" +
			"  drover lab inventory > lab.ini\n" +
			"  drover lab exec -- drover health -i lab.ini\n" +
			"  drover lab down",
	}
	cmd.PersistentFlags().StringVar(&c.name, "name", "lab", "`NAME` of the lab, so that several can stand side by side")
	cmd.AddCommand(
		c.up(), c.status(), c.inventory(), c.ssh(), c.exec(), c.cut(), c.nomad(), c.down(),
		c.onHost("heal HOST", "Undo a cut", func(cmd *cobra.Command, l *lab.Lab, host string) error { return l.Heal(cmd.Context(), host) }),
		c.onHost("kill HOST", "Cut a host's power", func(cmd *cobra.Command, l *lab.Lab, host string) error { return l.Kill(cmd.Context(), host) }),
		c.onHost("boot HOST", "Start a host that was killed or powered off", func(cmd *cobra.Command, l *lab.Lab, host string) error { return l.Boot(cmd.Context(), host) }),
	)
	return cmd
}

func (c *labCommand) dirs() lab.Dirs { return lab.FindDirs(os.Getenv) }

func (c *labCommand) open() (*lab.Lab, error) { return lab.Open(c.dirs(), c.name) }

func (c *labCommand) up() *cobra.Command {
	var o lab.Options
	cmd := &cobra.Command{
		Use: "up", Short: "Bring a lab up and wait until it is healthy", Args: cobra.NoArgs,
		Example: "  drover lab up\n  drover lab up --servers 1 --clients 2 --nomad 1.10.5 --job",
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			o.Name, o.Dirs = c.name, c.dirs()
			for _, dir := range []*string{&o.NomadDir, &o.Rootfs} {
				if *dir == "" {
					continue
				}
				if *dir, err = filepath.Abs(*dir); err != nil {
					return err
				}
			}
			_, err = lab.Up(cmd.Context(), o, c.errOut)
			return err
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&o.Servers, "servers", 3, "`N` Nomad servers, s1 and on")
	flags.BoolVar(&o.Combined, "combined", false, "the servers are clients too")
	flags.IntVar(&o.Clients, "clients", 3, "`N` Nomad clients, c1 and on")
	flags.IntVar(&o.Plain, "plain", 0, "`N` hosts without Nomad, h1 and on")
	flags.StringSliceVar(&o.Regions, "regions", nil, "federated `REGIONS` to deal servers and clients out to, the authoritative one first (default global)")
	flags.BoolVar(&o.Jump, "jump", false, "reach the hosts only through a jump host, j1")
	flags.StringVar(&o.Version, "nomad", "1.10.5", "Nomad `VERSION`; built here: "+strings.Join(lab.PinnedVersions(), ", "))
	flags.StringVar(&o.NomadDir, "nomad-dir", "", "`DIR` of Nomad release zips or binaries, instead of building")
	flags.StringVar(&o.Rootfs, "rootfs", "", "`DIR` with a Debian root to use, instead of making one")
	flags.BoolVar(&o.Disk, "disk", false, "keep the hosts' files on the disk, with real fsync, instead of in memory")
	flags.IntVar(&o.RaftProtocol, "raft-protocol", 0, "raft `PROTOCOL` of the servers (0: Nomad's default)")
	flags.BoolVar(&o.ACL, "acl", false, "turn ACLs on and bootstrap them")
	flags.BoolVar(&o.MTLS, "mtls", false, "mutual TLS for RPC and HTTP")
	flags.BoolVar(&o.LeaveOnTerminate, "leave-on-terminate", false, "agents leave on SIGTERM")
	flags.BoolVar(&o.LeaveOnInterrupt, "leave-on-interrupt", false, "agents leave on SIGINT")
	flags.BoolVar(&o.DrainOnShutdown, "drain-on-shutdown", false, "clients drain themselves when they leave")
	flags.StringVar(&o.KillSignal, "kill-signal", "SIGINT", "KillSignal of the unit")
	flags.StringVar(&o.KillMode, "kill-mode", "process", "KillMode of the unit")
	flags.StringVar(&o.UnitType, "unit-type", "simple", "Type of the unit")
	flags.BoolVar(&o.Job, "job", false, "run a long-lived job with raw_exec and exec allocations on the clients")
	flags.BoolVar(&o.Keep, "keep", false, "leave what stands when the lab does not come up")
	return cmd
}

func (c *labCommand) status() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "status", Short: "Show the hosts, and which Nomad runs on them", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "table" && output != "json" {
				return fmt.Errorf("--output %q: want table or json", output)
			}
			l, err := c.open()
			if err != nil {
				return err
			}
			all := l.Status(cmd.Context())
			if output == "table" {
				_, err = io.WriteString(c.out, lab.StatusTable(all))
				return err
			}
			return json.NewEncoder(c.out).Encode(all)
		},
	}
	cmd.Flags().StringVar(&output, "output", "table", "`FORMAT`: table or json")
	return cmd
}

func (c *labCommand) inventory() *cobra.Command {
	var user string
	cmd := &cobra.Command{
		Use: "inventory", Short: "Print the lab as an Ansible inventory", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			l, err := c.open()
			if err != nil {
				return err
			}
			text, err := l.Inventory(user)
			if err != nil {
				return err
			}
			_, err = io.WriteString(c.out, text)
			return err
		},
	}
	cmd.Flags().StringVar(&user, "user", "drover", "`USER` to log in as: drover (sudo without a password) or operator (sudo with one)")
	return cmd
}

func (c *labCommand) ssh() *cobra.Command {
	cmd := &cobra.Command{
		Use: "ssh HOST [COMMAND...]", Short: "Log in to a host, or run a command there", Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			l, err := c.open()
			if err != nil {
				return err
			}
			argv, err := l.SSHArgs(args[0], args[1:]...)
			if err != nil {
				return err
			}
			return l.Become(argv, os.Environ())
		},
	}
	cmd.Flags().SetInterspersed(false)
	return cmd
}

func (c *labCommand) exec() *cobra.Command {
	cmd := &cobra.Command{
		Use: "exec -- COMMAND...", Short: "Run a command of this machine where it reaches the hosts, as on a bastion", Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			l, err := c.open()
			if err != nil {
				return err
			}
			return l.Become(args, os.Environ())
		},
	}
	cmd.Flags().SetInterspersed(false)
	return cmd
}

func (c *labCommand) cut() *cobra.Command {
	var peersOnly bool
	cmd := c.onHost("cut HOST", "Take a host off the network", func(cmd *cobra.Command, l *lab.Lab, host string) error {
		if peersOnly {
			return l.CutPeers(cmd.Context(), host)
		}
		return l.Cut(cmd.Context(), host)
	})
	cmd.Flags().BoolVar(&peersOnly, "peers-only", false, "cut it off from the other Nomad hosts only: SSH still works")
	return cmd
}

func (c *labCommand) onHost(use, short string, act func(*cobra.Command, *lab.Lab, string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := c.open()
			if err != nil {
				return err
			}
			return act(cmd, l, args[0])
		},
	}
}

func (c *labCommand) nomad() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use: "nomad VERSION", Short: "Build or find a Nomad binary and print its path", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[0] == "" {
				return errors.New("which version of Nomad?")
			}
			path, err := lab.Nomad(cmd.Context(), args[0], dir, c.dirs().Cache, c.errOut)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.out, path)
			return err
		},
	}
	cmd.Flags().StringVar(&dir, "nomad-dir", "", "`DIR` of Nomad release zips or binaries, instead of building")
	return cmd
}

func (c *labCommand) down() *cobra.Command {
	return &cobra.Command{
		Use: "down", Short: "Take a lab down, also one that came up only halfway; leaves nothing behind", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return lab.Down(cmd.Context(), c.dirs(), c.name, c.errOut)
		},
	}
}
