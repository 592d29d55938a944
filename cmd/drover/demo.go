// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"drover/internal/lab"
	"drover/internal/lab/watch"
)

type demo struct {
	s        streams
	from, to string
	nomadDir string
	name     string
	keep     bool
	began    time.Time
	step     int
}

// demoSteps is how many times step is called, for "2 of 6".
const demoSteps = 6

func newDemoCommand(s streams) *cobra.Command {
	d := &demo{s: s}
	command := &cobra.Command{
		Use:   "demo",
		Short: "Upgrade a real cluster of three servers and three clients on this machine, live",
		Long: `demo builds two versions of Nomad (or takes them from --nomad-dir), brings up a lab of three servers and three clients with a
running job on the older one, upgrades it to the newer one while it is watched from outside, and takes everything down.

It needs root on Debian; the first run takes some minutes, since Nomad is built from its source.`,
		Example: "  drover demo\n  drover demo --nomad-dir releases/ --from 1.10.5 --to 1.11.0",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return d.run(c.Context()) },
	}
	command.Flags().StringVar(&d.from, "from", "1.10.5", "the `VERSION` that the cluster starts on")
	command.Flags().StringVar(&d.to, "to", "1.11.0", "the `VERSION` that it is upgraded to")
	command.Flags().StringVar(&d.nomadDir, "nomad-dir", "", "a `DIR` of Nomad release zips or binaries, instead of building them")
	command.Flags().StringVar(&d.name, "name", "demo", "`NAME` of the lab")
	command.Flags().BoolVar(&d.keep, "keep", false, "leave the lab standing at the end")
	return command
}

func (d *demo) run(ctx context.Context) (err error) {
	d.began = time.Now()
	dirs := lab.FindDirs(d.s.getenv)
	d.say("Nomad %s and %s: taken from the cache, or built from source (minutes, once)", d.from, d.to)
	var binary string
	for _, version := range []string{d.from, d.to} {
		if binary, err = lab.Nomad(ctx, version, d.nomadDir, dirs.Cache, d.s.err); err != nil {
			return err
		}
	}
	d.say("a lab of 3 servers and 3 clients on Nomad %s, with a running job", d.from)
	cluster, err := lab.Up(ctx, lab.Options{
		Name: d.name, Dirs: dirs, Servers: 3, Clients: 3, Version: d.from, NomadDir: d.nomadDir, Job: true,
	}, d.s.err)
	if err != nil {
		return err
	}
	if !d.keep {
		defer func() {
			d.say("taking the lab down")
			err = errors.Join(err, lab.Down(context.WithoutCancel(ctx), dirs, d.name, d.s.err))
		}()
	}
	d.say("before the upgrade")
	if err := d.show(ctx, cluster); err != nil {
		return err
	}
	d.say("drover upgrade --to %s, watched from outside", d.to)
	seen, err := d.upgrade(ctx, cluster, binary)
	if err != nil {
		return err
	}
	d.say("after the upgrade")
	if err := d.show(ctx, cluster); err != nil {
		return err
	}
	return d.judge(seen)
}

// say announces a step, with how far the demo is.
func (d *demo) say(format string, args ...any) {
	d.step++
	fmt.Fprintf(d.s.out, "\n[%d of %d, %s] %s\n", d.step, demoSteps, time.Since(d.began).Round(time.Second), fmt.Sprintf(format, args...))
}

func (d *demo) upgrade(ctx context.Context, cluster *lab.Lab, binary string) (*watch.Report, error) {
	text, err := cluster.Inventory("drover")
	if err != nil {
		return nil, err
	}
	inventory := filepath.Join(cluster.Dir(), "demo-hosts.ini")
	if err := os.WriteFile(inventory, []byte(text), 0o600); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	watcher, err := watch.Start(ctx, cluster)
	if err != nil {
		return nil, err
	}
	command := cluster.Command(ctx, self, "upgrade", "-i", inventory, "--to", d.to, "--binary", binary, "--yes")
	command.Stdout, command.Stderr = d.s.out, d.s.err
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	failed := command.Run()
	seen, err := watcher.Stop(context.WithoutCancel(ctx))
	if failed != nil {
		failed = fmt.Errorf("the upgrade failed: %w", failed)
	}
	return seen, errors.Join(failed, err)
}

// show prints versions, leader and allocations as the cluster itself tells them.
func (d *demo) show(ctx context.Context, cluster *lab.Lab) error {
	var leader string
	if err := cluster.Call(ctx, "s1", "GET", "/v1/status/leader", nil, &leader); err != nil {
		return err
	}
	table := tabwriter.NewWriter(d.s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "HOST\tROLE\tNOMAD\tTASKS (allocation:pid)")
	for _, host := range cluster.Status(ctx) {
		role := string(host.Role)
		if strings.HasPrefix(leader, host.Address.String()+":") {
			role += ", leader"
		}
		var tasks []string
		if host.Role == lab.Client {
			running, err := cluster.Tasks(host.Name)
			if err != nil {
				return err
			}
			for _, task := range running {
				tasks = append(tasks, fmt.Sprintf("%.8s:%d", task.Alloc, task.PID))
			}
			slices.Sort(tasks)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", host.Name, role, host.Nomad, strings.Join(tasks, " "))
	}
	return table.Flush()
}

func (d *demo) judge(seen *watch.Report) error {
	for _, absence := range seen.Absences {
		line := fmt.Sprintf("%s was away for %s", absence.Host, absence.Gap().Round(time.Millisecond))
		if absence.Budget > 0 && !absence.Heartbeat.IsZero() {
			line += fmt.Sprintf(", next heartbeat %s after the stop, of a budget of %s",
				absence.Heartbeat.Sub(absence.Gone).Round(time.Millisecond), absence.Budget.Round(time.Millisecond))
		}
		fmt.Fprintln(d.s.out, line)
	}
	if problems := seen.Problems(); len(problems) > 0 {
		return fmt.Errorf("the upgrade was felt:\n  %s", strings.Join(problems, "\n  "))
	}
	fmt.Fprintf(d.s.out, "\nNever two servers out of service, raft term %d -> %d, no heartbeat missed, all %d processes of the job unchanged.\n",
		seen.TermBefore, seen.TermAfter, seen.Tasks)
	return nil
}
