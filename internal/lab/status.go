// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"

	"drover/internal/printable"
)

// HostStatus is a host as it is now.
type HostStatus struct {
	Host
	Up    bool   `json:"up"`
	Nomad string `json:"nomad,omitempty"` // the version that runs, by the agent's own word; empty when it does not answer
}

// Status asks every host.
func (l *Lab) Status(ctx context.Context) []HostStatus {
	all := make([]HostStatus, len(l.state.Hosts))
	var tasks errgroup.Group
	tasks.SetLimit(8)
	for i, host := range l.state.Hosts {
		tasks.Go(func() error {
			_, err := l.initPid(host.Name)
			all[i] = HostStatus{Host: host, Up: err == nil}
			if all[i].Up && host.RunsNomad() {
				all[i].Nomad = l.runningVersion(ctx, host.Name)
			}
			return nil
		})
	}
	_ = tasks.Wait()
	return all
}

func (l *Lab) runningVersion(ctx context.Context, host string) string {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var self struct {
		Config struct {
			Version struct{ Version string }
		}
	}
	if err := l.Call(ctx, host, "GET", "/v1/agent/self", nil, &self); err != nil {
		return ""
	}
	return self.Config.Version.Version
}

// StatusTable renders statuses for a person.
func StatusTable(all []HostStatus) string {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "HOST\tROLE\tADDRESS\tSTATE\tNOMAD")
	for _, host := range all {
		up, nomad := "down", "-"
		if host.Up {
			up = "up"
		}
		if host.Nomad != "" {
			nomad = printable.Line(host.Nomad)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", host.Name, host.Role, host.Address, up, nomad)
	}
	table.Flush()
	return text.String()
}
