// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"drover/internal/wire"
)

// leaveOut is what to do about a host that drover cannot upgrade.
const leaveOut = "drover upgrades Nomad agents that systemd runs from a binary on the host itself; leave this host out with --limit '!HOST', HOST as the inventory calls it, and upgrade it the way it was set up"

// requireSystemd refuses a host whose init is another, before anything tries to talk to systemd.
func requireSystemd() error {
	if _, err := os.Stat("/run/systemd/system"); err == nil { // as sd_booted(3) decides it
		return nil
	}
	name, err := os.ReadFile("/proc/1/comm")
	init := strings.TrimSpace(string(name))
	if err != nil || init == "" {
		init = "unknown"
	}
	text := fmt.Sprintf("systemd does not run this host (process 1 is %s)", init)
	if found := describeProcesses(nomadProcesses()); found != "" {
		text += "; " + found
	}
	refused := failure(wire.KindUnsupported, "%s", text)
	refused.Hint = leaveOut
	return refused
}

// withoutUnit explains a host that does not have the unit: what Nomad runs there instead is not systemd's, is in a
// container, or has a unit of another name. nil where no Nomad runs.
func withoutUnit(unit string) error {
	processes := nomadProcesses()
	if len(processes) == 0 {
		return nil
	}
	refused := failure(wire.KindUnsupported, "there is no unit %s on this host, but %s", unit, describeProcesses(processes))
	refused.Hint = leaveOut
	for _, p := range processes {
		if name := unitOf(p.pid); containerOf(p.pid) == "" && name != "" && !foreignScope(name) {
			refused.Hint = "set nomad_unit: " + name + " for this host in the inventory"
			break
		}
	}
	return refused
}

// foreignScope tells a service that sessions and user managers run in.
func foreignScope(name string) bool {
	return strings.HasPrefix(name, "user@") || name == "ssh.service" || name == "sshd.service"
}

// describeProcesses says which Nomad agents run, and in what; "" where none does.
func describeProcesses(processes []nomadProcess) string {
	var found []string
	for _, p := range processes {
		switch kind, unit := containerOf(p.pid), unitOf(p.pid); {
		case kind != "":
			found = append(found, fmt.Sprintf("process %d is a Nomad agent in a %s", p.pid, kind))
		case unit != "" && !foreignScope(unit):
			found = append(found, fmt.Sprintf("process %d is a Nomad agent that %s runs", p.pid, unit))
		default:
			found = append(found, fmt.Sprintf("process %d is a Nomad agent that no unit of systemd runs (started by hand?)", p.pid))
		}
	}
	return strings.Join(found, ", ")
}

// containerOf says what kind of container a process runs in; "" where it is on the host itself. A unit's own mount
// namespace (PrivateTmp=) makes no container, another process namespace does.
func containerOf(pid int) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	first, _ := os.ReadFile("/proc/1/cgroup") // where the whole host is a container, that says nothing about Nomad
	if kind := containerKind(string(text)); kind != "" && kind != containerKind(string(first)) {
		return kind
	}
	own, err := os.Readlink("/proc/self/ns/pid")
	other, otherErr := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
	if err == nil && otherErr == nil && own != other {
		return "container"
	}
	return ""
}

// containerKind reads a /proc/PID/cgroup, where each engine leaves its mark: docker/ID or docker-ID.scope, and so on.
func containerKind(text string) string {
	for _, kind := range []struct{ mark, name string }{
		{`/kubepods`, "Kubernetes container"},
		{`/libpod[-_][^/]*|/libpod_parent`, "podman container"},
		{`/docker/[0-9a-f]{12,}|/docker-[0-9a-f]{12,}\.scope`, "docker container"},
		{`/(cri-containerd|nerdctl)-[0-9a-f]{12,}\.scope|/(default|k8s\.io|moby)/[0-9a-f]{12,}`, "containerd container"},
		{`/lxc(\.payload)?[./]`, "LXC container"},
		{`/machine\.slice/`, "machine of systemd-nspawn"},
	} {
		if regexp.MustCompile(kind.mark).MatchString(text) {
			return kind.name
		}
	}
	return ""
}

// containerTool names the program of a unit that starts Nomad in a container; "" for any other.
func containerTool(s service) string {
	tools := []string{"docker", "podman", "nerdctl", "ctr", "crictl", "docker-compose", "systemd-nspawn", "lxc", "runc", "crun"}
	if name := filepath.Base(s.ExecStartPath); slices.Contains(tools, name) {
		return name
	}
	for _, tool := range tools {
		if slices.ContainsFunc(s.ExecStart, func(argument string) bool { return strings.Contains(argument, tool+" run ") }) {
			return tool
		}
	}
	return ""
}

// refuseContainer refuses a unit whose Nomad is not the host's own.
func refuseContainer(s service) error {
	text := ""
	if tool := containerTool(s); tool != "" {
		text = fmt.Sprintf("%s starts %s, so its Nomad runs in a container and has no binary on the host", s.Name, tool)
		if found := describeProcesses(nomadProcesses()); found != "" {
			text += "; " + found
		}
	} else if kind := containerOf(s.MainPID); s.MainPID > 0 && kind != "" {
		text = fmt.Sprintf("%s runs its process %d in a %s, so its Nomad has no binary on the host", s.Name, s.MainPID, kind)
	}
	if text == "" {
		return nil
	}
	refused := failure(wire.KindUnsupported, "%s", text)
	refused.Hint = leaveOut
	return refused
}

// readOnly tells whether nothing can be put beside a file because its filesystem is read-only.
func readOnly(path string) bool {
	var fsinfo unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(path), &fsinfo); err == nil && fsinfo.Flags&unix.ST_RDONLY != 0 {
		return true
	}
	return errors.Is(unix.Access(filepath.Dir(path), unix.W_OK), unix.EROFS)
}

// refuseReadOnly refuses a binary, or a link, that cannot be exchanged where it is.
func refuseReadOnly(s service, t target) error {
	for _, path := range []string{t.file, t.link} {
		if path != "" && readOnly(path) {
			refused := failure(wire.KindUnsupported, "%s of %s is on a read-only filesystem, so no other binary can be put there", path, s.Name)
			refused.Hint = "nothing was touched; where the image of the host is meant to be read-only, let ExecStart name a binary on a writable filesystem (such as /opt), or make the image anew; else remount it: mount -o remount,rw; or leave this host out with --limit '!HOST', HOST as the inventory calls it"
			return refused
		}
	}
	return nil
}
