// SPDX-License-Identifier: MPL-2.0

package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"drover/internal/lab"
)

const linkedOld = "/opt/nomad/nomad-" + oldVersion

// Hosts as one finds them, in one cluster. s1 and c1 start Nomad by a symbolic link, s2 from a package that was upgraded without a
// restart, s3 by a unit of another name; c1 may run nothing in the home directories; c3 has two agents. What c2 is changes.
func TestLabHosts(t *testing.T) {
	r := newRig(t, lab.Options{Servers: 3, Clients: 3, Job: true}, "drover")
	r.sub("the hosts become what they are", (*rig).dressUp)
	tasks := r.tasks()
	for _, step := range []struct {
		name string
		run  func(*rig)
	}{
		{"a shared binary and a read-only one are refused together", (*rig).sharedAndReadOnly},
		{"Nomad in a container is refused", (*rig).inContainer},
		{"Nomad without a unit is refused", (*rig).withoutUnit},
		{"a host without systemd is refused", (*rig).withoutSystemd},
		{"a host where nothing may be executed is refused", (*rig).noexecEverywhere},
		{"a client whose new agent does not come up gets its link back", (*rig).linkReverted},
		{"the plan says what is found", (*rig).kindsPlanned},
		{"each kind is upgraded, without a host that is left out", (*rig).kindsUpgraded},
		{"the host that was left out is upgraded when it is repaired", (*rig).leftOutUpgraded},
	} {
		r.sub(step.name, func(r *rig) {
			step.run(r)
			r.wantTasks(tasks)
		})
	}
	r.sub("the next run changes nothing", func(r *rig) {
		before := r.unitPIDs()
		wantAnswer(r.t, r.upgrade(), exitOK, "nothing to do")
		r.wantSamePIDs(before)
		r.wantTasks(tasks)
	})
}

// kind is one agent of the inventory.
type kind struct{ name, host, unit, binary string }

func kinds() []kind {
	return []kind{
		{"s1", "s1", "nomad", "/usr/local/bin/nomad"},
		{"s2", "s2", "nomad", "/usr/bin/nomad"},
		{"s3", "s3", "nomad-prod", "/usr/local/bin/nomad"},
		{"c1", "c1", "nomad", "/usr/local/bin/nomad"},
		{"c2", "c2", "nomad", "/usr/local/bin/nomad"},
		{"c3", "c3", "nomad", "/usr/local/bin/nomad"},
		{"c3b", "c3", "nomad-b", "/usr/local/bin/nomad-b"},
	}
}

// unitPIDs are the agents' processes as their hosts number them; 0 for one that does not run.
func (r *rig) unitPIDs() map[string]string {
	r.t.Helper()
	pids := map[string]string{}
	for _, k := range kinds() {
		pids[k.name] = r.unitPID(k.host, k.unit)
	}
	return pids
}

func (r *rig) unitPID(host, unit string) string {
	r.t.Helper()
	return strings.TrimSpace(r.onHost(host, "systemctl", "show", "-p", "MainPID", "--value", unit))
}

func (r *rig) wantSamePIDs(before map[string]string) {
	r.t.Helper()
	if diff := cmp.Diff(before, r.unitPIDs()); diff != "" {
		r.t.Errorf("processes of the agents (-before +after):\n%s", diff)
	}
}

func (r *rig) dressUp() {
	for _, host := range []string{"s1", "c1"} {
		r.onHost(host, "sh", "-c", "mv /usr/local/bin/nomad "+linkedOld+" && ln -s "+linkedOld+" /usr/local/bin/nomad && systemctl restart nomad")
		r.answers(host)
	}
	r.packaged("s2")
	r.onHost("s3", "sh", "-c", `systemctl disable -q --now nomad; cd /etc/systemd/system && mv nomad.service nomad-prod.service && systemctl daemon-reload && systemctl enable -q --now nomad-prod`)
	r.answers("s3")
	r.setVars("s3", "nomad_unit=nomad-prod.service")
	// The home directory may execute programs while drover's agent is put there, and may not afterwards.
	r.must("exec", "c1", "--", "true")
	if out := r.onHost("c1", "find", "/home/drover", "-name", "drover-agent-*"); out == "" {
		r.t.Error("no agent was put into the home directory, so that the next one proves nothing")
	}
	r.mounted("c1", "/home/drover", "noexec")
	r.secondAgent()
	r.roles()
	r.healthy()
	for _, name := range []string{"c1", "c3", "c3b"} {
		r.ready(name, oldVersion)
	}
}

func (r *rig) answers(host string) {
	r.t.Helper()
	r.eventually(host+" to answer", time.Minute, func() bool { _, err := r.self(host); return err == nil })
	if l, err := r.lab.Host(host); err == nil && l.IsServer() {
		r.healthy()
	}
}

// setVars gives a host of the inventory variables.
func (r *rig) setVars(host, vars string) {
	r.t.Helper()
	text, err := os.ReadFile(r.inventory)
	if err != nil {
		r.t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	at := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, host+" ansible_host=") })
	lines[at] += " " + vars
	if err := os.WriteFile(r.inventory, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// mounted gives a directory of a host mount options of its own.
func (r *rig) mounted(host, dir, options string) {
	r.t.Helper()
	r.onHost(host, "sh", "-c", fmt.Sprintf("mount --bind %[1]s %[1]s && mount -o remount,bind,%[2]s %[1]s", dir, options))
}

// packaged makes a host's Nomad one that dpkg owns, and then upgrades the package, which restarts nothing.
func (r *rig) packaged(host string) {
	r.t.Helper()
	r.installPackage(host, oldVersion, r.path(host, "usr/local/bin/nomad"))
	r.onHost(host, "sh", "-c", `sed -i 's|^ExecStart=/usr/local/bin/nomad|ExecStart=/usr/bin/nomad|' /etc/systemd/system/nomad.service && rm /usr/local/bin/nomad && systemctl daemon-reload && systemctl restart nomad`)
	r.answers(host)
	r.installPackage(host, newVersion, r.binary)
}

func (r *rig) installPackage(host, version, binary string) {
	r.t.Helper()
	r.onHost(host, "mkdir", "-p", "/root/package/DEBIAN", "/root/package/usr/bin")
	control := fmt.Sprintf("Package: nomad\nVersion: %s\nArchitecture: all\nMaintainer: nobody\nDescription: workload orchestrator\n", version)
	if err := os.WriteFile(r.path(host, "root/package/DEBIAN/control"), []byte(control), 0o644); err != nil {
		r.t.Fatal(err)
	}
	install(r.t, binary, r.path(host, "root/package/usr/bin/nomad"))
	r.onHost(host, "sh", "-c", "cd /root && dpkg-deb -Znone --build package >/dev/null && rm -r package && dpkg -i package.deb >/dev/null && rm package.deb")
}

// secondAgent starts another client on c3, from the same binary and with everything else its own.
func (r *rig) secondAgent() {
	r.t.Helper()
	r.onHost("c3", "sh", "-c", `mkdir -p /etc/nomad-b.d /opt/nomad-b && cp /etc/nomad.d/client.hcl /etc/nomad-b.d/ &&
sed -e 's|"c3"|"c3b"|' -e 's|"/opt/nomad"|"/opt/nomad-b"|' /etc/nomad.d/nomad.hcl >/etc/nomad-b.d/nomad.hcl &&
printf 'ports {\n  http = 4656\n  rpc  = 4657\n  serf = 4658\n}\n' >>/etc/nomad-b.d/nomad.hcl &&
sed 's|/etc/nomad.d|/etc/nomad-b.d|' /etc/systemd/system/nomad.service >/etc/systemd/system/nomad-b.service &&
systemctl daemon-reload && systemctl enable -q --now nomad-b`)
	c3, err := r.lab.Host("c3")
	if err != nil {
		r.t.Fatal(err)
	}
	text, err := os.ReadFile(r.inventory)
	if err != nil {
		r.t.Fatal(err)
	}
	section := "[nomad_clients]\n"
	line := fmt.Sprintf("c3b ansible_host=%s nomad_unit=nomad-b.service\n", c3.Address)
	if err := os.WriteFile(r.inventory, []byte(strings.Replace(string(text), section, section+line, 1)), 0o600); err != nil {
		r.t.Fatal(err)
	}
	r.ready("c3b", oldVersion)
	r.besideJob()
}

// besideJob runs two tasks on the second agent of c3.
func (r *rig) besideJob() {
	r.t.Helper()
	job := map[string]any{"Job": map[string]any{
		"ID": "beside", "Name": "beside", "Type": "service", "Datacenters": []string{"dc1"},
		"Constraints": []any{map[string]any{"LTarget": "${node.unique.name}", "RTarget": "c3b", "Operand": "="}},
		"TaskGroups": []any{map[string]any{
			"Name": "beside", "Count": 2, "EphemeralDisk": map[string]any{"SizeMB": 10},
			"Tasks": []any{map[string]any{
				"Name": "sleep", "Driver": "raw_exec", "Config": map[string]any{"command": "/bin/sleep", "args": []string{"infinity"}},
				"Resources": map[string]any{"CPU": 20, "MemoryMB": 16}, "LogConfig": map[string]any{"MaxFiles": 1, "MaxFileSizeMB": 1},
			}},
		}},
	}}
	if err := r.lab.Call(r.t.Context(), "s1", "PUT", "/v1/jobs", job, nil); err != nil {
		r.t.Fatal(err)
	}
	r.eventually("tasks on the second agent", time.Minute, func() bool {
		var allocs []struct{ ClientStatus string }
		if r.lab.Call(r.t.Context(), "s1", "GET", "/v1/job/beside/allocations", nil, &allocs) != nil {
			return false
		}
		running := 0
		for _, alloc := range allocs {
			if alloc.ClientStatus == "running" {
				running++
			}
		}
		return running == 2
	})
}

// wantRefused makes a plan, which must name what stands in the way, and one without those hosts.
func (r *rig) wantRefused(without []string, words ...string) {
	r.t.Helper()
	a := r.run("plan", "--to", newVersion)
	wantAnswer(r.t, a, exitRefused, words...)
	r.t.Log(a.out)
	limit := "all"
	for _, host := range without {
		limit += ":!" + host
	}
	a = r.run("plan", "--to", newVersion, "--limit", limit)
	wantAnswer(r.t, a, exitChanges)
	if strings.Contains(a.out, "What stands in the way") {
		r.t.Errorf("without %v something stands in the way still: %s", without, a)
	}
}

func (r *rig) sharedAndReadOnly() {
	r.mounted("c2", "/usr/local/bin", "ro")
	before := r.unitPIDs()
	words := []string{
		"c2: ", "/usr/local/bin/nomad", "read-only",
		"c3: ", "nomad-b.service (process " + before["c3b"] + ")", "c3b: ", "nomad.service (process " + before["c3"] + ")",
	}
	r.wantRefused([]string{"c2", "c3", "c3b"}, words...)
	wantAnswer(r.t, r.upgrade(), exitRefused, words...)
	r.wantSamePIDs(before)
	for _, host := range []string{"s1", "s3", "c1", "c2", "c3"} {
		if out := r.onHost(host, "sh", "-c", "/usr/local/bin/nomad version; ls /usr/local/bin"); !strings.HasPrefix(out, "Nomad v"+oldVersion) || strings.Contains(out, "drover") {
			r.t.Errorf("%s: on disk is %s", host, out)
		}
	}
	r.onHost("c2", "umount", "-l", "/usr/local/bin")
	r.onHost("c3", "sh", "-c", `cp -a /usr/local/bin/nomad /usr/local/bin/nomad-b && sed -i 's|^ExecStart=/usr/local/bin/nomad |ExecStart=/usr/local/bin/nomad-b |' /etc/systemd/system/nomad-b.service &&
systemctl daemon-reload && systemctl restart nomad-b`)
	r.ready("c3b", oldVersion)
}

// runOutside stops the unit's agent of c2 and starts it again in a scope, which no service of systemd's is.
func (r *rig) runOutside(scope string) {
	r.t.Helper()
	r.onHost("c2", "sh", "-c", "systemctl stop nomad; systemd-run -q --scope --unit="+scope+" setsid -f /usr/local/bin/nomad agent -config /etc/nomad.d </dev/null >/dev/null 2>&1")
	r.answers("c2")
}

// runInUnit undoes runOutside.
func (r *rig) runInUnit(scope string) {
	r.t.Helper()
	r.onHost("c2", "sh", "-c", "systemctl kill -s INT "+scope+".scope; while systemctl is-active -q "+scope+".scope; do sleep 0.1; done; systemctl daemon-reload; systemctl restart nomad")
	r.answers("c2")
}

// inContainer has a unit that starts docker, which has a Nomad agent run in a control group of docker's.
func (r *rig) inContainer() {
	const scope = "docker-0123456789abcdef"
	r.runOutside(scope)
	docker := "#!/bin/sh\nexec sleep infinity\n"
	if err := os.WriteFile(r.path("c2", "usr/local/bin/docker"), []byte(docker), 0o755); err != nil {
		r.t.Fatal(err)
	}
	r.dropIn("c2", "[Service]\nExecStart=\nExecStart=/usr/local/bin/docker run --rm hashicorp/nomad agent\n")
	r.onHost("c2", "systemctl", "start", "nomad")
	r.wantRefused([]string{"c2"}, "c2: ", "nomad.service starts", "docker container")
	r.onHost("c2", "sh", "-c", "systemctl stop nomad; rm /etc/systemd/system/nomad.service.d/test.conf /usr/local/bin/docker")
	r.runInUnit(scope)
}

func (r *rig) withoutUnit() {
	const scope = "by-hand"
	r.runOutside(scope)
	r.onHost("c2", "sh", "-c", "mv /etc/systemd/system/nomad.service /root/ && systemctl daemon-reload")
	r.wantRefused([]string{"c2"}, "c2: ", "nomad.service", "no unit")
	r.onHost("c2", "mv", "/root/nomad.service", "/etc/systemd/system/")
	r.runInUnit(scope)
}

// withoutSystemd hides what sd_booted(3) goes by.
func (r *rig) withoutSystemd() {
	r.onHost("c2", "mv", "/run/systemd/system", "/run/systemd/hidden")
	r.wantRefused([]string{"c2"}, "c2: ", "systemd")
	r.onHost("c2", "mv", "/run/systemd/hidden", "/run/systemd/system")
}

func (r *rig) noexecEverywhere() {
	r.mounted("c1", "/var/tmp", "noexec")
	before := r.unitPIDs()
	wantAnswer(r.t, r.upgrade("--limit", "c1"), exitRefused, "c1: ", "/home/drover/.cache/drover: noexec", "/var/tmp/drover-1000: noexec", "drover_agent_dir")
	r.wantSamePIDs(before)
	r.onHost("c1", "umount", "-l", "/var/tmp")
}

// linkReverted upgrades c1 to a binary that passes every check and does not come up.
func (r *rig) linkReverted() {
	before := r.unitPIDs()
	a := r.run("upgrade", "--to", newVersion, "--binary", r.standIn(), "--yes", "--clients", "--limit", "c1")
	wantAnswer(r.t, a, exitFailed, "[c1]: FAILED! => swapping Nomad to "+newVersion+" did not succeed", "the old binary runs again")
	delete(before, "c1")
	now := r.unitPIDs()
	delete(now, "c1")
	if !maps.Equal(before, now) {
		r.t.Errorf("processes were %v, are %v", before, now)
	}
	r.wantKind(kind{"c1", "c1", "nomad", "/usr/local/bin/nomad"}, oldVersion)
	r.wantLink("c1", linkedOld)
	r.ready("c1", oldVersion)
}

func (r *rig) wantLink(host, target string) {
	r.t.Helper()
	if link := strings.TrimSpace(r.onHost(host, "readlink", "/usr/local/bin/nomad")); link != target {
		r.t.Errorf("%s: the link points to %s, want %s", host, link, target)
	}
}

// wantKind checks what runs and what the next start would run.
func (r *rig) wantKind(k kind, version string) {
	r.t.Helper()
	first := func(command string) string {
		out, err := r.lab.Output(r.t.Context(), k.host, "sh", "-c", command+" version | head -n1")
		if err != nil {
			return err.Error()
		}
		return strings.TrimSpace(out)
	}
	want := "Nomad v" + version
	r.eventually(k.name+" to run "+version, 30*time.Second, func() bool {
		pid := r.unitPID(k.host, k.unit)
		return pid != "0" && first("/proc/"+pid+"/exe") == want
	})
	if got := first(k.binary); got != want {
		r.t.Errorf("%s: on disk is %s, not %s", k.name, got, want)
	}
	if out := r.onHost(k.host, "systemctl", "show", "-p", "DropInPaths", "--value", k.unit); strings.Contains(out, "drover") {
		r.t.Errorf("%s: a drop-in is left: %s", k.name, out)
	}
}

func (r *rig) kindsPlanned() {
	a := r.run("plan", "--to", newVersion)
	wantAnswer(r.t, a, exitChanges, "nomad (dpkg)", "has "+newVersion+" on disk, but still runs "+oldVersion)
	r.t.Log(a.out)
}

// kindsUpgraded leaves out c2, whose binary is read-only again.
func (r *rig) kindsUpgraded() {
	r.mounted("c2", "/usr/local/bin", "ro")
	var a answer
	report := r.watched(func() { a = r.upgrade("--limit", "all:!c2", "--batch", "100%") })
	wantAnswer(r.t, a, exitOK)
	for _, problem := range report.Problems() {
		r.t.Error(problem)
	}
	for _, k := range kinds() {
		version := newVersion
		if k.name == "c2" {
			version = oldVersion
		}
		r.wantKind(k, version)
		if k.name[0] == 'c' {
			r.ready(k.name, version)
		}
	}
	for _, host := range []string{"s1", "c1"} {
		r.wantLink(host, "/opt/nomad/nomad-"+newVersion)
		if version := r.onHost(host, linkedOld, "version"); !strings.HasPrefix(version, "Nomad v"+oldVersion) {
			r.t.Errorf("%s: what the link pointed to is %s now", host, version)
		}
	}
	if version := r.onHost("s2", "sh", "-c", "/usr/bin/nomad.drover-previous version"); !strings.HasPrefix(version, "Nomad v"+oldVersion) {
		r.t.Errorf("the binary kept on s2 is %s, not the one that ran", version)
	}
	r.wantAgentElsewhere()
}

// wantAgentElsewhere looks where drover's agent was put on c1, whose home directory is noexec.
func (r *rig) wantAgentElsewhere() {
	r.t.Helper()
	if out := r.onHost("c1", "sh", "-c", "ls /var/tmp/drover-1000"); !strings.Contains(out, "drover-agent-") {
		r.t.Errorf("no agent of drover's is in c1:/var/tmp/drover-1000: %q", out)
	}
}

func (r *rig) leftOutUpgraded() {
	r.onHost("c2", "umount", "-l", "/usr/local/bin")
	before := r.unitPIDs()
	wantAnswer(r.t, r.upgrade(), exitOK)
	now := r.unitPIDs()
	if before["c2"] == now["c2"] {
		r.t.Error("c2 was not restarted")
	}
	delete(before, "c2")
	delete(now, "c2")
	if !maps.Equal(before, now) {
		r.t.Errorf("processes were %v, are %v", before, now)
	}
	for _, k := range kinds() {
		r.wantKind(k, newVersion)
	}
	r.healthy()
}
