// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"drover/internal/wire"
)

// nomadProcess is a process that runs `nomad agent`, and not one of its helpers (executor, logmon), which run the same
// file.
type nomadProcess struct {
	pid  int
	exe  fileID
	path string // where /proc/PID/exe points, without " (deleted)"
	argv []string
}

// nomadProcesses lists the Nomad agents of the host. Only root sees those of others.
func nomadProcesses() []nomadProcess {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var found []nomadProcess
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		argv := cmdline(pid)
		if len(argv) < 2 || argv[1] != "agent" {
			continue
		}
		id, err := runningFile(pid)
		if err != nil {
			continue
		}
		path, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		found = append(found, nomadProcess{pid: pid, exe: id, path: strings.TrimSuffix(path, " (deleted)"), argv: argv})
	}
	return found
}

// unitOf is the service that a process belongs to, from its control group; "" where it belongs to none.
func unitOf(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		// ID:CONTROLLERS:PATH; systemd's own hierarchy is the unified one or the one named so.
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 || (fields[1] != "" && fields[1] != "name=systemd") {
			continue
		}
		parts := strings.Split(fields[2], "/")
		slices.Reverse(parts)
		for _, part := range parts {
			if strings.HasSuffix(part, ".service") {
				return part
			}
		}
	}
	return ""
}

// sharedBy names the other Nomad agents that run what the unit's swap would exchange, or would at their next start, as
// "nomad-b.service (process 812)": their binary would be exchanged without their being restarted, or asked about.
func sharedBy(ctx context.Context, m *manager, s service, t target) ([]string, error) {
	pids := map[string]int{}
	var lone []string
	processes := nomadProcesses()
	for _, p := range processes {
		unit := unitOf(p.pid)
		switch {
		case p.pid == s.MainPID || unit == s.Name || unit == s.id:
			continue
		case unit != "":
			pids[unit] = p.pid
		case usesPlace(p, t):
			lone = append(lone, fmt.Sprintf("process %d", p.pid))
		}
	}
	units, err := m.nomadUnits(ctx)
	if err != nil {
		return nil, err
	}
	for name, path := range units {
		other, err := resolve(path)
		switch {
		case name == s.Name || name == s.id:
			delete(pids, name)
		case err == nil && other.place() == t.place(), err == nil && t.link == "" && other.file == t.file:
			if pid := pids[name]; pid > 0 {
				lone = append(lone, fmt.Sprintf("%s (process %d)", name, pid))
			} else {
				lone = append(lone, name)
			}
			delete(pids, name)
		}
	}
	// What runs the same file although its unit names another: the unit was changed and not restarted since.
	for _, p := range processes {
		if unit := unitOf(p.pid); t.link == "" && pids[unit] == p.pid && usesPlace(p, t) {
			lone = append(lone, fmt.Sprintf("%s (process %d)", unit, p.pid))
		}
	}
	slices.Sort(lone)
	return lone, nil
}

// usesPlace tells whether a process runs the file that would be exchanged. A link that is switched leaves the files be, so
// there only what was started by its name counts.
func usesPlace(p nomadProcess, t target) bool {
	if t.link != "" {
		by, err := resolve(p.argv[0])
		return filepath.IsAbs(p.argv[0]) && err == nil && by.link == t.link
	}
	id, err := idOf(t.file)
	return err == nil && (id == p.exe || p.path == t.file)
}

// nomadUnits are the loaded services whose command is an agent of Nomad, with the path of their program.
func (m *manager) nomadUnits(ctx context.Context) (map[string]string, error) {
	all, err := m.conn.ListUnitsByPatternsContext(ctx, nil, []string{"*.service"})
	if err != nil {
		return nil, fmt.Errorf("list the units: %w", err)
	}
	found := map[string]string{}
	for _, unit := range all {
		if unit.LoadState != "loaded" {
			continue
		}
		property, err := m.conn.GetUnitTypePropertyContext(ctx, unit.Name, "Service", "ExecStart")
		if err != nil {
			continue // it has just gone
		}
		commands := properties{"ExecStart": property.Value.Value()}.commands("ExecStart")
		if len(commands) > 0 && slices.Contains(commands[0].argv, "agent") {
			found[unit.Name] = commands[0].path
		}
	}
	return found, nil
}

// refuseShared refuses to exchange a binary that other agents use too.
func refuseShared(s service, t target, shared []string) error {
	if len(shared) == 0 {
		return nil
	}
	refused := failure(wire.KindUnsupported, "%s of %s is also the binary of %s: exchanging it would change the version of an agent that nobody asked about",
		t.place(), s.Name, strings.Join(shared, ", "))
	refused.Hint = "nothing was touched; give each agent a binary of its own: copy it, name the copy in ExecStart of one of the units and restart that agent"
	return refused
}
