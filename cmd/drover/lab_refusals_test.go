// SPDX-License-Identifier: MPL-2.0

package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"drover/internal/lab"
	"drover/internal/testrelease"
)

// refusal is an upgrade that must be refused with nothing touched.
type refusal struct {
	name string
	// plant puts something in the way. What it returns is tried: the rig itself, or one with another inventory.
	plant func(r *rig) *rig
	heal  func(r *rig)
	// command is what is run; nil is the upgrade of everything.
	command func(r *rig) []string
	code    int
	words   []string
	not     []string // what would lead the reader astray
	// restarts is the host whose agent is stopped and started to plant and to heal.
	restarts string
}

// Whatever stands in the way of an upgrade is said before anything is touched: no file, no process, no entry in raft's
// log. All on one cluster, since nothing is touched.
func TestLabRefusals(t *testing.T) {
	r := newRig(t, lab.Options{Servers: 3, Clients: 3, Plain: 1}, "drover")
	r.inventory = r.edited(func(text string) string { return without(text, "h1 ") })
	p := r.pictures()
	r.sub("the picture turns red", func(r *rig) { r.pictureTurnsRed(p) })
	for _, group := range [][]refusal{unreachableRefusals(), identityRefusals(), binaryRefusals(), hostRefusals(), inventoryRefusals()} {
		for _, f := range group {
			before := r.mainPIDs()
			t.Run(f.name, func(t *testing.T) { r.with(t).refused(p, f) })
			after := r.mainPIDs()
			delete(before, f.restarts)
			delete(after, f.restarts)
			if !maps.Equal(before, after) {
				t.Fatal("agents were restarted, so that the rest would prove nothing")
			}
		}
	}
	t.Run("another run is at work", func(t *testing.T) { r.with(t).lockedOut(p) })
}

func (r *rig) refused(p *pictures, f refusal) {
	r.t.Helper()
	tried := r
	if f.plant != nil {
		tried = f.plant(r)
	}
	if f.heal != nil {
		defer f.heal(r)
	}
	command := everything
	if f.command != nil {
		command = f.command
	}
	args := command(tried)
	before := p.calm(r.t)
	a := tried.run(args...)
	r.t.Log(a)
	wantAnswer(r.t, a, f.code, f.words...)
	for _, word := range f.not {
		if strings.Contains(a.out+a.err, word) {
			r.t.Errorf("it says %q", word)
		}
	}
	p.want(r.t, before)
}

func everything(r *rig) []string {
	return []string{"upgrade", "--to", newVersion, "--binary", r.binary, "--yes", "--timeout", "2"}
}

func and(more ...string) func(r *rig) []string {
	return func(r *rig) []string { return append(everything(r), more...) }
}

// to is an upgrade to another version, or with another binary.
func to(version string, binary func(r *rig) string) func(r *rig) []string {
	return func(r *rig) []string {
		return []string{"upgrade", "--to", version, "--binary", binary(r), "--yes"}
	}
}

// edited is the inventory with other text.
func (r *rig) edited(edit func(text string) string) string {
	r.t.Helper()
	text, err := os.ReadFile(r.inventory)
	if err != nil {
		r.t.Fatal(err)
	}
	path := filepath.Join(r.t.TempDir(), "hosts.ini")
	if err := os.WriteFile(path, []byte(edit(string(text))), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return path
}

// inventoried is a rig whose inventory has other text.
func inventoried(edit func(text string) string) func(r *rig) *rig {
	return func(r *rig) *rig {
		here := *r
		here.inventory = r.edited(edit)
		return &here
	}
}

// without drops the lines that begin with a prefix.
func without(text, prefix string) string {
	return regexp.MustCompile("(?m)^"+regexp.QuoteMeta(prefix)+".*\n").ReplaceAllString(text, "")
}

// on runs a script on a host, before or after.
func on(host, script string) func(r *rig) {
	return func(r *rig) { r.onHost(host, "sh", "-c", script) }
}

func planted(plant func(r *rig)) func(r *rig) *rig {
	return func(r *rig) *rig { plant(r); return r }
}

// pictureTurnsRed shows that what the other subtests rely on sees a change of each kind.
func (r *rig) pictureTurnsRed(p *pictures) {
	for _, change := range []struct {
		host, name, want string
		do               func()
	}{
		{"s2", "a mode changed and changed back", "/etc/nomad.d/nomad.hcl", func() {
			r.onHost("s2", "sh", "-c", "chmod 600 /etc/nomad.d/nomad.hcl && chmod 640 /etc/nomad.d/nomad.hcl")
		}},
		{"c1", "a file that came and went beside the binary", "/usr/local/bin", func() { r.onHost("c1", "sh", "-c", "touch /usr/local/bin/new && rm /usr/local/bin/new") }},
		{"h1", "a file of the Debian root removed", "/usr/share/base-files/motd", func() { r.onHost("h1", "rm", "/usr/share/base-files/motd") }},
		{"c2", "a drop-in", "/run/systemd/system/nomad.service.d/test.conf", func() {
			r.onHost("c2", "sh", "-c", "mkdir -p /run/systemd/system/nomad.service.d && echo '[Service]' > /run/systemd/system/nomad.service.d/test.conf")
		}},
		{"c3", "an agent restarted", "InvocationID", func() { r.onHost("c3", "systemctl", "restart", "nomad") }},
		{theCluster, "an entry in the log", lastIndex, func() {
			in := map[string]any{"Namespaces": []any{}, "Name": "control", "Description": "a control"}
			if err := r.lab.Call(r.t.Context(), "s1", "PUT", "/v1/namespace/control", in, nil); err != nil {
				r.t.Fatal(err)
			}
		}},
	} {
		before := p.calm(r.t)
		change.do()
		after := p.take(r.t, 0)
		seen := false
		for name, state := range before[change.host] {
			seen = seen || strings.Contains(name, change.want) && after[change.host][name] != state
		}
		for name := range after[change.host] {
			_, there := before[change.host][name]
			seen = seen || strings.Contains(name, change.want) && !there
		}
		if !seen {
			r.t.Errorf("%s on %s was not noticed", change.name, change.host)
		}
	}
	r.onHost("c2", "sh", "-c", "rm -r /run/systemd/system/nomad.service.d && systemctl daemon-reload")
	r.healthy()
}

func unreachableRefusals() []refusal {
	stop, start := "systemctl stop ssh", "systemctl start ssh"
	// The bastion alone gets no answer, so that the servers do not miss the client, which they would write down.
	cut, heal := on("c3", "ip route add blackhole 10.64.0.2/32"), on("c3", "ip route del blackhole 10.64.0.2/32")
	return []refusal{
		{
			name: "an unreachable server", plant: planted(on("s3", stop)), heal: on("s3", start),
			code: exitRefused, words: []string{"s3", "connection refused", "--accept-down", "nothing was touched"},
		},
		{
			name: "an unreachable server is not a client to skip", plant: planted(on("s3", stop)), heal: on("s3", start), command: and("--skip-unreachable"),
			code: exitRefused, words: []string{"s3", "connection refused", "--accept-down"},
		},
		{
			name: "no server that can be reached", heal: on("s3", start), command: and("--skip-unreachable"),
			plant: func(r *rig) *rig {
				r.onHost("s3", "sh", "-c", stop)
				return inventoried(func(text string) string { return without(without(text, "s1 "), "s2 ") })(r)
			},
			code: exitRefused, words: []string{"s3", "no server could be asked", "repair the connections to the servers", "nothing was touched"},
		},
		{
			name: "an unreachable client", plant: planted(cut), heal: heal,
			code: exitRefused, words: []string{"c3", "--skip-unreachable", "nothing was touched"},
		},
		{
			name: "more clients to skip than may be lost", plant: planted(cut), heal: heal, command: and("--skip-unreachable", "--max-fail-percentage", "30"),
			code: exitRefused, words: []string{"1 of 3 clients would be skipped", "raise --max-fail-percentage", "nothing was touched"},
		},
	}
}

// knownHosts is the file that the lab's hosts are known by.
func (r *rig) knownHosts() []string {
	r.t.Helper()
	text, err := os.ReadFile(r.lab.KnownHostsFile())
	if err != nil {
		r.t.Fatal(err)
	}
	return slices.Collect(strings.Lines(string(text)))
}

func identityRefusals() []refusal {
	unknown := func(r *rig) *rig {
		return r.as(strings.Join(slices.DeleteFunc(r.knownHosts(), func(line string) bool { return strings.HasPrefix(line, "s2,") }), ""))
	}
	// c1 shows its own key where that of s1 is expected.
	changed := func(r *rig) *rig {
		lines := r.knownHosts()
		at := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, "c1,") })
		names, _, _ := strings.Cut(lines[at], " ")
		_, key, _ := strings.Cut(lines[0], " ")
		lines[at] = names + " " + key
		return r.as(strings.Join(lines, ""))
	}
	return []refusal{
		{name: "an unknown host key", plant: unknown, code: exitRefused, words: []string{"s2", "key", "unknown", "SHA256:", "--accept-new", "nothing was touched"}},
		{name: "a changed host key", plant: changed, code: exitRefused, words: []string{"c1", "CHANGED", "SHA256:", "nothing was touched"}, not: []string{"--accept-new"}},
		{
			name: "a wrong sudo password, which is tried once", plant: wrongPassword, heal: triedOnce, command: func(r *rig) []string {
				return append(everything(r), "--become-password-file", filepath.Join(filepath.Dir(r.inventory), "password"))
			},
			code: exitRefused, words: []string{"s1", "c3", "password", "operator", "once", "nothing was touched"},
		},
	}
}

// wrongPassword is the operator's rig with a password that is not theirs beside the inventory.
func wrongPassword(r *rig) *rig {
	text, err := r.lab.Inventory("operator")
	if err != nil {
		r.t.Fatal(err)
	}
	here := inventoried(func(string) string { return without(text, "h1 ") })(r)
	if err := os.WriteFile(filepath.Join(filepath.Dir(here.inventory), "password"), []byte("not-the-password\n"), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return here
}

// triedAgain is what PAM and sudo say of further attempts: PAM counts those of one sudo together, beside the first.
var triedAgain = regexp.MustCompile(`more authentication failure|([2-9]|\d\d+) incorrect password attempts`)

// triedOnce reads in each host's own log how often sudo was given a wrong password.
func triedOnce(r *rig) {
	for _, host := range r.agentHosts() {
		log := r.onHost(host, "journalctl", "--no-pager", "-o", "cat", "-t", "sudo")
		if n := strings.Count(log, "pam_unix(sudo:auth): authentication failure"); n != 1 || triedAgain.MatchString(log) {
			r.t.Errorf("%s: sudo was not given a wrong password just once:\n%s", host, log)
		}
	}
}

// file writes a file of the bastion.
func (r *rig) file(name string, content []byte) string {
	r.t.Helper()
	path := filepath.Join(r.t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o755); err != nil {
		r.t.Fatal(err)
	}
	return path
}

func binaryRefusals() []refusal {
	truncated := func(r *rig) string {
		source, err := os.Open(r.binary)
		if err != nil {
			r.t.Fatal(err)
		}
		defer source.Close()
		start := make([]byte, 50<<20)
		if _, err := io.ReadFull(source, start); err != nil {
			r.t.Fatal(err)
		}
		return r.file("nomad", start)
	}
	tampered := func(r *rig) string {
		good := testrelease.Zip(r.t, "nomad", testrelease.Program(r.t, "amd64", newVersion))
		bad := testrelease.Zip(r.t, "nomad", append(testrelease.Program(r.t, "amd64", newVersion), 0))
		name := "nomad_" + newVersion + "_linux_amd64.zip"
		path := r.file(name, bad)
		sums := filepath.Join(filepath.Dir(path), "nomad_"+newVersion+"_SHA256SUMS")
		if err := os.WriteFile(sums, testrelease.Sums(map[string][]byte{name: good}), 0o600); err != nil {
			r.t.Fatal(err)
		}
		return path
	}
	return []refusal{
		{
			name: "a binary for another architecture", command: to(newVersion, func(r *rig) string { return r.file("nomad", testrelease.Program(r.t, "arm64", newVersion)) }),
			code: exitRefused, words: []string{"arm64", "amd64", "--binary", "nothing was touched"},
		},
		{name: "a binary that was cut off", command: to(newVersion, truncated), code: exitRefused, words: []string{"only a part", "--binary", "nothing was touched"}},
		{name: "a zip that is not what SHA256SUMS says", command: to(newVersion, tampered), code: exitRefused, words: []string{"SHA256SUMS", "nothing was touched"}},
		{
			name: "a binary of another version", command: to(newVersion, func(r *rig) string { return r.nomad(oldVersion) }),
			code: exitRefused, words: []string{oldVersion, newVersion, "nothing was touched"},
		},
		{
			name: "a downgrade", command: to("1.2.6", func(r *rig) string { return r.nomad("1.2.6") }),
			code: exitRefused, words: []string{"s1", "newer than 1.2.6", "downgrade", "nothing was touched"},
		},
	}
}

// nomad is a real binary of a version.
func (r *rig) nomad(version string) string {
	r.t.Helper()
	path, err := lab.Nomad(r.t.Context(), version, "", r.lab.Options().Dirs.Cache, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return path
}

func hostRefusals() []refusal {
	return []refusal{
		{
			name: "a full disk where the binary is staged", plant: planted(on("c1", "mkdir -p /var/lib/drover && mount -t tmpfs -o size=30m,mode=700 small /var/lib/drover")),
			heal: on("c1", "umount -l /var/lib/drover"),
			code: exitRefused, words: []string{"c1", "space", "/var/lib/drover", "nothing was touched"},
		},
		{
			name: "a configuration that the new version rejects", plant: planted(on("c2", `printf 'client {\n  no_such_setting = 1\n}\n' > /etc/nomad.d/zz.hcl`)),
			heal: on("c2", "rm /etc/nomad.d/zz.hcl"),
			// Only the new binary can say so, after it was staged.
			code: exitRefused, words: []string{"c2", "no_such_setting", "/etc/nomad.d/zz.hcl", "nothing was stopped", "correct the configuration"},
		},
		{
			name: "a server that is down and left out", plant: planted(func(r *rig) { r.stopFollower("s3") }), heal: func(r *rig) { r.startAgain("s3") }, restarts: "s3",
			command: and("--limit", "!s3"),
			code:    exitRefused, words: []string{"s3", "down", "stopping one more server would leave 1 of 3 voters", "nothing was touched"},
		},
	}
}

// stopFollower stops the agent of a server that does not lead.
func (r *rig) stopFollower(host string) {
	r.t.Helper()
	if leader, followers := r.roles(); leader == host {
		if err := r.transfer(leader, followers[0]); err != nil {
			r.t.Fatal(err)
		}
	}
	r.onHost(host, "systemctl", "stop", "nomad")
}

func (r *rig) startAgain(host string) {
	r.onHost(host, "systemctl", "start", "nomad")
	// Autopilot may not have noticed yet that it was gone.
	r.eventually(host+" to have applied its log", 30*time.Second, func() bool {
		stats, err := r.pictures().raft(r.t, host)
		return err == nil && stats["state"] == "Follower" && stats["applied_index"] != "0"
	})
	r.healthy()
}

func inventoryRefusals() []refusal {
	missing := inventoried(func(text string) string { return without(text, "s3 ") })
	stranger := inventoried(func(text string) string {
		return strings.Replace(text, "[nomad_clients]\n", "[nomad_clients]\nh1 ansible_host=10.64.3.1\n", 1)
	})
	foreign := func(r *rig) *rig { r.ownCluster("h1"); return stranger(r) }
	return []refusal{
		{name: "an inventory that misses a server", plant: missing, code: exitRefused, words: []string{"s3", "10.64.1.3", "not in the inventory", "nothing was touched"}},
		{name: "an inventory that misses a server, with a limit", plant: missing, command: and("--limit", "c1"), code: exitRefused, words: []string{"s3", "not in the inventory", "nothing was touched"}},
		{name: "a host without Nomad", plant: stranger, code: exitRefused, words: []string{"h1", "nomad.service", "inventory", "nothing was touched"}},
		{name: "two clusters", plant: foreign, code: exitRefused, words: []string{"h1", "cluster", "inventory", "nothing was touched"}},
		{name: "two clusters, with a limit", plant: stranger, command: and("--limit", "s1"), heal: on("h1", "systemctl stop nomad; rm -r /etc/nomad.d /opt/nomad"), code: exitRefused, words: []string{"h1", "cluster", "inventory", "nothing was touched"}},
		{name: "a limit without a name", command: and("--limit", ""), code: exitUsage, words: []string{"--limit"}},
		{name: "a limit that leaves nobody", command: and("--limit", "s1:!s1"), code: exitUsage, words: []string{"limit"}},
		{name: "a limit with a slip of the pen", command: and("--limit", "nomad_server"), code: exitUsage, words: []string{"nomad_server", "nomad_servers"}},
	}
}

// ownCluster makes a cluster of a host that had no Nomad.
func (r *rig) ownCluster(host string) {
	r.t.Helper()
	install(r.t, r.nomad(oldVersion), r.path(host, "usr/local/bin/nomad"))
	unit, err := os.ReadFile(r.path("s1", "etc/systemd/system/nomad.service"))
	if err != nil {
		r.t.Fatal(err)
	}
	// An agent that looks for updates writes a file into its data directory, some time after its start.
	config := fmt.Sprintf("name = %q\nregion = \"global\"\ndata_dir = \"/opt/nomad\"\ndisable_update_check = true\nserver {\n  enabled = true\n  bootstrap_expect = 1\n}\n", host)
	for path, text := range map[string]string{"etc/systemd/system/nomad.service": string(unit), "etc/nomad.d/nomad.hcl": config} {
		if err := os.MkdirAll(filepath.Dir(r.path(host, path)), 0o755); err != nil {
			r.t.Fatal(err)
		}
		if err := os.WriteFile(r.path(host, path), []byte(text), 0o644); err != nil {
			r.t.Fatal(err)
		}
	}
	r.onHost(host, "sh", "-c", "mkdir -p /opt/nomad && systemctl daemon-reload && systemctl start nomad")
	r.eventually(host+" to lead its own cluster", time.Minute, func() bool { return r.leads(host) })
}

// lockedOut has another run at work on one host.
func (r *rig) lockedOut(p *pictures) {
	first := r.begin("run", r.playbook(`- hosts: c2
  become: true
  tasks:
    - nomad_facts:
    - file:
        path: /run/drover-test-holds
        state: touch
    - pause:
        minutes: 5
`))
	r.eventually("the first run to hold c2", 30*time.Second, func() bool {
		_, err := r.lab.Output(r.t.Context(), "c2", "test", "-e", "/run/drover-test-holds")
		return err == nil
	})
	r.refused(p, refusal{code: exitLocked, words: []string{"c2", "another run", fmt.Sprintf("(process %d)", first.command.Process.Pid), "wait for it to end"}})
	r.refused(p, refusal{
		command: func(*rig) []string { return []string{"plan", "--to", newVersion} },
		code:    exitLocked, words: []string{"c2", "another run holds nomad.service", fmt.Sprintf("(process %d)", first.command.Process.Pid)}, not: []string{"Nothing stands in the way"},
	})
	first.kill()
	r.onHost("c2", "rm", "/run/drover-test-holds")
	// The lock dies with its holder.
	r.eventually("the lock to be given up", 20*time.Second, func() bool {
		return r.run("plan", "--to", newVersion).code == exitChanges
	})
}

// A skip of more than two minor versions, from the oldest version at hand.
func TestLabRefusedSkip(t *testing.T) {
	r := newRig(t, lab.Options{Servers: 1, Version: "1.2.6", RaftProtocol: 3}, "drover")
	r.refused(r.pictures(), refusal{
		command: to(oldVersion, func(r *rig) string { return r.nomad(oldVersion) }),
		code:    exitRefused, words: []string{"s1", "1.2.6 to " + oldVersion, "8 minor versions", "nothing was touched"},
	})
}
