// SPDX-License-Identifier: MPL-2.0

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"drover/internal/lab"
)

// raftVersion is one that uses raft protocol 2 unless its configuration says otherwise.
const raftVersion = "1.2.6"

const (
	raftConfig = "/etc/nomad.d/server.hcl"
	peersJSON  = "/opt/nomad/server/raft/peers.json"
)

// raftState is what a server says of itself and of raft.
type raftState struct {
	Config struct{ Version struct{ Version string } }
	Member struct{ Tags map[string]string }
	Stats  struct {
		Raft struct {
			State    string `json:"state"`
			Protocol string `json:"protocol_version"`
			Peers    string `json:"num_peers"`
			Servers  string `json:"latest_configuration"`
		} `json:"raft"`
	}
}

func (r *rig) raftState(host string) (raftState, error) {
	var state raftState
	err := r.lab.Call(r.t.Context(), host, "GET", "/v1/agent/self", nil, &state)
	return state, err
}

// raftServers is raft's configuration as a server knows it, also without a leader.
func (r *rig) raftServers(host string) ([]raftServer, error) {
	var answer struct{ Servers []raftServer }
	err := r.lab.Call(r.t.Context(), host, "GET", "/v1/operator/raft/configuration?stale", nil, &answer)
	return answer.Servers, err
}

type raftServer struct {
	ID, Node, Address, RaftProtocol string
	Leader, Voter                   bool
}

// register writes a job that no client takes.
func (r *rig) register(host, job string) error {
	definition := map[string]any{"Job": map[string]any{
		"ID": job, "Name": job, "Type": "service", "Datacenters": []string{"nowhere"},
		"TaskGroups": []any{map[string]any{"Name": "g", "Count": 1, "Tasks": []any{map[string]any{
			"Name": "t", "Driver": "raw_exec", "Config": map[string]any{"command": "/bin/true"},
		}}}},
	}}
	return r.lab.Call(r.t.Context(), host, http.MethodPut, "/v1/jobs", definition, nil)
}

func (r *rig) jobIDs(host string) []string {
	var jobs []struct{ ID string }
	if err := r.lab.Call(r.t.Context(), host, "GET", "/v1/jobs", nil, &jobs); err != nil {
		return nil
	}
	ids := []string{}
	for _, job := range jobs {
		ids = append(ids, job.ID)
	}
	slices.Sort(ids)
	return ids
}

// leaderless waits until a server's agent answers and leads nobody, and keeps to that.
func (r *rig) leaderless(host string) {
	r.t.Helper()
	since := time.Time{}
	r.eventually(host+" to be without a leader", time.Minute, func() bool {
		state, err := r.raftState(host)
		if err != nil {
			since = time.Time{}
			return false
		}
		servers, err := r.raftServers(host)
		if err != nil || len(servers) != 1 || servers[0].ID == state.Member.Tags["id"] {
			since = time.Time{}
			return false
		}
		if since.IsZero() {
			since = time.Now()
		}
		return time.Since(since) > time.Second
	})
}

// single is a server of the old protocol, alone, with a job.
type single struct {
	*rig
	host   string
	nodeID string
}

// TestLabRaftSingle migrates the only server of a cluster, out of every state in which one is found.
func TestLabRaftSingle(t *testing.T) {
	r := newRig(t, lab.Options{Servers: 1, Version: raftVersion, RaftProtocol: 2}, "drover")
	s := &single{rig: r, host: "s1"}
	s.keepOriginals()
	for _, test := range []struct {
		name string
		run  func(*single)
	}{
		{"plain", (*single).plain},
		{"with the version", (*single).withVersion},
		{"rescued: restarted without a peers.json", (*single).flapping},
		{"rescued: a bad peers.json", (*single).badPeers},
		{"rescued: the right peers.json before the old configuration", (*single).peersFirst},
		{"rescued: an id with a line break, used up", (*single).wrongID},
		{"rescued: not running", (*single).notRunning},
		{"rescued: does not answer", (*single).hangs},
		{"rescued: upgraded without a peers.json", (*single).upgradedFirst},
		{"rescued: upgraded, and the configuration left as it was", (*single).upgradedOnly},
		{"refused", (*single).refusals},
	} {
		t.Run(test.name, func(t *testing.T) {
			here := &single{rig: r.with(t), host: s.host}
			here.reset()
			test.run(here)
		})
	}
}

func (s *single) onHost(argv ...string) string { s.t.Helper(); return s.rig.onHost(s.host, argv...) }

// reset makes a new cluster of the old protocol, with a job.
func (s *single) reset() {
	s.t.Helper()
	s.onHost("sh", "-c", `systemctl stop nomad; systemctl reset-failed nomad; rm -rf /opt/nomad/* /var/lib/drover/swap /etc/systemd/system/nomad.service.d /usr/local/bin/nomad.drover-*
cp /root/server.hcl `+raftConfig+`; cp /usr/local/bin/nomad-`+raftVersion+` /usr/local/bin/nomad.new; mv /usr/local/bin/nomad.new /usr/local/bin/nomad; systemctl daemon-reload; systemctl start nomad`)
	s.eventually("the server to lead", 30*time.Second, func() bool { return s.register(s.host, "kept") == nil })
	s.rig.stabilization(s.host, "1s") // what autopilot waits for is Nomad's, and would be most of the time here
	s.nodeID = strings.TrimSpace(s.onHost("cat", "/opt/nomad/server/node-id"))
}

// keepOriginals keeps what reset brings back.
func (s *single) keepOriginals() {
	s.t.Helper()
	s.onHost("sh", "-c", "cp /usr/local/bin/nomad /usr/local/bin/nomad-"+raftVersion+"; cp "+raftConfig+" /root/server.hcl")
}

func (s *single) setProtocol(protocol string) {
	s.t.Helper()
	s.onHost("sed", "-i", "s/raft_protocol .*/raft_protocol    = "+protocol+"/", raftConfig)
}

func (s *single) peers(text string) {
	s.t.Helper()
	s.onHost("sh", "-c", "printf '"+text+"' > "+peersJSON)
}

// migrated checks the end state, and that a second run has nothing to do.
func (s *single) migrated(version string) {
	s.t.Helper()
	state, err := s.raftState(s.host)
	if err != nil {
		s.t.Fatal(err)
	}
	servers, err := s.raftServers(s.host)
	if err != nil {
		s.t.Fatal(err)
	}
	address := state.Member.Tags["rpc_addr"] + ":" + state.Member.Tags["port"]
	want := []raftServer{{ID: s.nodeID, Node: "s1.global", Address: address, RaftProtocol: "3", Leader: true, Voter: true}}
	if !slices.Equal(servers, want) || state.Stats.Raft.Protocol != "3" || state.Config.Version.Version != version {
		s.t.Errorf("raft: %+v, want %+v; protocol %s, version %s", servers, want, state.Stats.Raft.Protocol, state.Config.Version.Version)
	}
	if jobs := s.jobIDs(s.host); !slices.Contains(jobs, "kept") {
		s.t.Errorf("jobs: %v", jobs)
	}
	if left := s.onHost("sh", "-c", "ls "+peersJSON+" 2>/dev/null || true"); left != "" {
		s.t.Errorf("%s is still there", peersJSON)
	}
	if set := s.onHost("grep", "-c", "raft_protocol    = 3", raftConfig); strings.TrimSpace(set) != "1" {
		s.t.Errorf("%s sets raft_protocol = 3 %s times", raftConfig, set)
	}
	pids := s.mainPIDs()
	if a := s.rig.run("raft-v3", "--yes"); a.code != 0 || !strings.Contains(a.out, "Nothing to do.") {
		s.t.Errorf("the second run: %s", a)
	}
	s.wantUntouched(pids)
}

// migrate runs the migration, which must succeed.
func (s *single) migrate(more ...string) answer {
	s.t.Helper()
	a := s.rig.run(append([]string{"raft-v3", "--yes"}, more...)...)
	if a.code != 0 {
		s.t.Fatalf("raft-v3: %s", a)
	}
	return a
}

// refusedWith checks that nothing was touched.
func (s *single) refusedWith(words []string, more ...string) {
	s.t.Helper()
	before := s.onHost("sh", "-c", "cat "+raftConfig+"; ls /opt/nomad /opt/nomad/server/raft; systemctl show -p NRestarts,ActiveEnterTimestampMonotonic nomad; cat "+peersJSON+" 2>&1 || true")
	a := s.rig.run(append([]string{"raft-v3", "--yes"}, more...)...)
	wantAnswer(s.t, a, exitRefused, words...)
	after := s.onHost("sh", "-c", "cat "+raftConfig+"; ls /opt/nomad /opt/nomad/server/raft; systemctl show -p NRestarts,ActiveEnterTimestampMonotonic nomad; cat "+peersJSON+" 2>&1 || true")
	if before != after {
		s.t.Errorf("something was touched:\n%s\nbecame\n%s", before, after)
	}
}

func (s *single) plain() {
	pids := s.mainPIDs()
	a := s.rig.run("raft-v3", "--check")
	wantAnswer(s.t, a, exitChanges, "only server of the cluster", "raft protocol 2; its id in raft", s.nodeID, raftConfig+":4:", "raft_protocol 2 becomes 3", "control plane pauses")
	s.wantUntouched(pids)
	before := s.onHost("cat", raftConfig)
	owner := s.onHost("stat", "-c", "%U:%G %a", raftConfig)
	// As an agent of the user nomad has it, and with a line break that must not get into peers.json.
	s.onHost("sh", "-c", "chown -R games:games /opt/nomad/server; printf '\\n' >> /opt/nomad/server/node-id")
	seen := s.watchPeers()
	a = s.migrate()
	s.migrated(raftVersion)
	servers, err := s.raftServers(s.host)
	if err != nil {
		s.t.Fatal(err)
	}
	wantPeers := fmt.Sprintf(`[{"id":"%s","address":"%s","non_voter":false}]`, s.nodeID, servers[0].Address)
	file := seen()
	if compact := strings.Join(strings.Fields(file.text), ""); compact != wantPeers {
		s.t.Errorf("peers.json was %q, want %s", file.text, wantPeers)
	}
	if stat := strings.TrimSpace(s.onHost("stat", "-c", "%u %a", "/opt/nomad/server/raft/raft.db")); fmt.Sprintf("%d %o", file.owner, file.mode) != stat {
		s.t.Errorf("peers.json had the owner and the mode %d %o, raft.db has %s", file.owner, file.mode, stat)
	}
	want := strings.Replace(before, "raft_protocol    = 2", "raft_protocol    = 3", 1)
	if after := s.onHost("cat", raftConfig); after != want {
		s.t.Errorf("%s:\n%s\nwant\n%s", raftConfig, after, want)
	}
	if after := s.onHost("stat", "-c", "%U:%G %a", raftConfig); after != owner {
		s.t.Errorf("%s belongs to %s, before to %s", raftConfig, after, owner)
	}
	if !strings.Contains(a.out, "/opt/nomad/server.drover-backup-") {
		s.t.Errorf("the backup is not named: %s", a)
	}
	s.onHost("sh", "-c", "test -s /opt/nomad/server.drover-backup-*/raft/raft.db")
}

// peersFile is peers.json as it was seen.
type peersFile struct {
	text  string
	owner uint32
	mode  os.FileMode
}

// watchPeers looks for peers.json from below until the result is asked for, and for the agent that ran before: both at the same time are the
// mistake that makes Nomad delete the file unread.
func (s *single) watchPeers() (seen func() peersFile) {
	s.t.Helper()
	before, err := s.lab.AgentPID(s.host)
	if err != nil || before == 0 {
		s.t.Fatalf("agent %d: %v", before, err)
	}
	found, stop, done := peersFile{}, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			if info, err := os.Stat(s.path(s.host, peersJSON)); err == nil {
				text, _ := os.ReadFile(s.path(s.host, peersJSON))
				if _, err := os.Stat(fmt.Sprintf("/proc/%d", before)); err == nil {
					s.t.Error("peers.json is there while the agent still runs")
				}
				if len(text) > 0 {
					found = peersFile{text: string(text), owner: info.Sys().(*syscall.Stat_t).Uid, mode: info.Mode().Perm()}
				}
			}
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	return func() peersFile { close(stop); <-done; return found }
}

func (s *single) withVersion() {
	to := []string{"--to", oldVersion, "--binary", s.nomad(oldVersion)}
	s.refusedWith([]string{"spans 8 minor versions", "--allow-unsupported-skip"}, to...)
	s.migrate(append(to, "--allow-unsupported-skip")...)
	s.migrated(oldVersion)
}

func (s *single) flapping() {
	s.setProtocol("3")
	s.onHost("systemctl", "restart", "nomad")
	s.leaderless(s.host)
	s.migrate()
	s.migrated(raftVersion)
}

// badPeers has a file of unknown origin, in each way that makes Nomad end at once.
func (s *single) badPeers() {
	s.setProtocol("3")
	for _, text := range []string{
		`{`, `["10.0.0.1:4647"]`,
		`[{"id":"` + s.nodeID + `","address":"","non_voter":false}]`,
	} {
		s.onHost("systemctl", "stop", "nomad")
		s.peers(text)
		s.onHost("systemctl", "start", "nomad")
		s.ended()
		wantAnswer(s.t, s.rig.run("raft-v3", "--yes"), exitRefused, "somebody has left", "--replace-peers-json")
	}
	s.migrate("--replace-peers-json")
	s.migrated(raftVersion)
	if kept := s.onHost("sh", "-c", "cat "+peersJSON+".drover-aside-*"); !strings.Contains(kept, `"address":""`) {
		s.t.Errorf("set aside was %q", kept)
	}
}

// peersFirst is what is left when somebody writes peers.json and dies before the edit of the configuration.
func (s *single) peersFirst() {
	servers, err := s.raftServers(s.host)
	if err != nil {
		s.t.Fatal(err)
	}
	s.onHost("systemctl", "stop", "nomad")
	s.peers(`[{"id":"` + s.nodeID + `","address":"` + servers[0].Address + `","non_voter":false}]`)
	s.onHost("systemctl", "start", "nomad")
	s.ended()
	s.migrate()
	s.migrated(raftVersion)
}

// wrongID has Nomad use up a file that names nobody.
func (s *single) wrongID() {
	servers, err := s.raftServers(s.host)
	if err != nil {
		s.t.Fatal(err)
	}
	s.setProtocol("3")
	s.onHost("systemctl", "stop", "nomad")
	s.peers(`[{"id":"` + s.nodeID + `\\n","address":"` + servers[0].Address + `","non_voter":false}]`)
	s.onHost("systemctl", "start", "nomad")
	s.leaderless(s.host)
	s.migrate()
	s.migrated(raftVersion)
}

func (s *single) notRunning() {
	s.onHost("systemctl", "stop", "nomad")
	a := s.migrate()
	if !strings.Contains(a.out, "its agent does not run") {
		s.t.Errorf("the plan: %s", a)
	}
	s.migrated(raftVersion)
}

// hangs is an agent that takes connections and says nothing.
func (s *single) hangs() {
	s.setProtocol("3")
	s.onHost("systemctl", "restart", "nomad")
	s.leaderless(s.host)
	s.onHost("systemctl", "kill", "-s", "STOP", "nomad")
	a := s.migrate("--stop-signal", "KILL")
	if !strings.Contains(a.out, "does not answer") {
		s.t.Errorf("the plan: %s", a)
	}
	s.migrated(raftVersion)
}

// upgradedFirst is the likeliest accident: a new version in place, which wants protocol 3, and nobody knew of peers.json.
func (s *single) upgradedFirst() {
	s.setProtocol("3")
	s.replaced(oldVersion)
	s.leaderless(s.host)
	s.migrate()
	s.migrated(oldVersion)
}

// upgradedOnly has the new version end at once, since it does not know protocol 2.
func (s *single) upgradedOnly() {
	s.replaced(oldVersion)
	s.ended()
	s.migrate()
	s.migrated(oldVersion)
}

// replaced has another version run in place.
func (s *single) replaced(version string) {
	s.t.Helper()
	s.onHost("systemctl", "stop", "nomad")
	install(s.t, s.nomad(version), s.path(s.host, "usr/local/bin/nomad"))
	s.onHost("systemctl", "start", "nomad")
}

// ended waits until systemd has seen the agent end by itself.
func (s *single) ended() {
	s.t.Helper()
	s.eventually("the server to end", 20*time.Second, func() bool {
		return strings.Contains(s.onHost("sh", "-c", "systemctl show -p SubState --value nomad"), "auto-restart")
	})
}

func (s *single) refusals() {
	s.peers(`[{"id":"` + s.nodeID + `","address":"10.0.0.1:4647"}]`)
	s.refusedWith([]string{"somebody has left " + peersJSON, "--replace-peers-json"})
	s.onHost("sh", "-c", "rm "+peersJSON+"; mv /opt/nomad/server/raft/peers.info /root/")
	s.refusedWith([]string{"peers.info is missing", "delete a peers.json without using it"})
	s.onHost("sh", "-c", "mv /root/peers.info /opt/nomad/server/raft/; cp -p /opt/nomad/server/node-id /root/; printf 11111111-2222-3333-4444-555555555555 > /opt/nomad/server/node-id")
	s.refusedWith([]string{"the running agent has the id " + s.nodeID, "11111111-2222-3333-4444-555555555555"})
	s.onHost("cp", "-p", "/root/node-id", "/opt/nomad/server/node-id")
	s.onHost("sh", "-c", `mkdir -p /etc/systemd/system/nomad.service.d; printf '[Service]\nExecStart=\nExecStart=/usr/local/bin/nomad agent -config /etc/nomad.d -raft-protocol=2\n' > /etc/systemd/system/nomad.service.d/flag.conf; systemctl daemon-reload`)
	s.refusedWith([]string{"-raft-protocol", "ExecStart"})
	s.onHost("sh", "-c", "rm -r /etc/systemd/system/nomad.service.d; systemctl daemon-reload; printf 'server { raft_protocol = 2 }' > /etc/nomad.d/aa.hcl")
	s.refusedWith([]string{"/etc/nomad.d/aa.hcl:1:", "raft_protocol = 2", "does not start"}, "--to", oldVersion, "--binary", s.nomad(oldVersion), "--allow-unsupported-skip")
	s.onHost("rm", "/etc/nomad.d/aa.hcl")
	s.onHost("sh", "-c", "systemctl stop nomad; sed -i 's/bootstrap_expect = 1/bootstrap_expect = 3/' "+raftConfig)
	s.refusedWith([]string{"bootstrap_expect = 3", "does not look like the only server"})
	s.onHost("sh", "-c", "systemctl stop nomad; sed -i 's/bootstrap_expect = 3/bootstrap_expect = 1/; s/retry_join .*/retry_join = [\"10.99.99.99\"]/' "+raftConfig)
	s.refusedWith([]string{"joins 10.99.99.99"})
}

// TestLabRaftSingleGuarded rescues a server that wants a token and certificates.
func TestLabRaftSingleGuarded(t *testing.T) {
	r := newRig(t, lab.Options{Servers: 1, Version: raftVersion, RaftProtocol: 2, ACL: true, MTLS: true}, "drover")
	s := &single{rig: r, host: "s1", nodeID: strings.TrimSpace(r.onHost("s1", "cat", "/opt/nomad/server/node-id"))}
	s.rig.stabilization(s.host, "1s")
	if err := s.register(s.host, "kept"); err != nil {
		t.Fatal(err)
	}
	s.setProtocol("3")
	s.onHost("systemctl", "restart", "nomad")
	// Raft's log, and with it every token, is applied when there is a leader.
	s.eventually("the server to know no token", 30*time.Second, func() bool {
		_, err := s.raftState(s.host)
		return err != nil && strings.Contains(err.Error(), "ACL token not found")
	})
	s.migrate()
	s.migrated(raftVersion)
}

// TestLabRaftSingleKilled kills drover at every boundary of a task, with a new version in the same step.
func TestLabRaftSingleKilled(t *testing.T) {
	r := newRig(t, lab.Options{Servers: 1, Version: raftVersion, RaftProtocol: 2}, "drover")
	s := &single{rig: r, host: "s1"}
	s.keepOriginals()
	to := []string{"--to", oldVersion, "--binary", s.nomad(oldVersion), "--allow-unsupported-skip"}
	check := func(n int, boundary string) {
		state := s.state()
		a := r.again(to...)
		t.Logf("%d: killed after %s; the host: %s; the second run: code %d, %s", n, boundary, state, a.code, summaryOf(a))
		if a.code != 0 {
			t.Fatalf("the second run: %s", a)
		}
		s.migrated(oldVersion)
	}
	n := 1
	for ; !t.Failed(); n++ {
		s.reset()
		boundary, killed := r.killedAfter(n, to...)
		check(n, boundary)
		if !killed {
			break
		}
	}
	// In the last task it is the transaction that changes the host.
	for _, step := range []string{"committed", "stopping", "edited", "checked"} {
		n++
		s.reset()
		check(n, s.killedAtStep(step, to...))
	}
}

// killedAtStep kills drover as soon as the transaction on the host has made a step.
func (s *single) killedAtStep(step string, more ...string) string {
	s.t.Helper()
	started := s.begin(append([]string{"raft-v3", "--yes"}, more...)...)
	s.eventually("the step "+step, time.Minute, func() bool {
		records, err := filepath.Glob(s.path(s.host, "var/lib/drover/swap/nomad.service/*/steps.jsonl"))
		if err != nil || len(records) == 0 {
			return false
		}
		text, err := os.ReadFile(records[0])
		return err == nil && strings.Contains(string(text), `"name":"`+step+`"`)
	})
	started.kill()
	return "step " + step
}

// state is the host in a line.
func (s *single) state() string {
	return strings.Join(strings.Fields(s.onHost("sh", "-c", "systemctl is-active nomad; grep -o 'raft_protocol.*' "+raftConfig+
		"; ls "+peersJSON+" 2>/dev/null; ls -d /opt/nomad/server.drover-* 2>/dev/null; tail -qn1 /var/lib/drover/swap/*/*/steps.jsonl 2>/dev/null | grep -o '\"name\":\"[a-z ]*' | tail -n1; true")), " ")
}

// summaryOf is what a run says that it did, or that there was nothing to do.
func summaryOf(a answer) string {
	for line := range strings.Lines(a.out) {
		if strings.Contains(line, "changed: [") || strings.Contains(line, "Nothing to do") || strings.Contains(line, ": migrate,") || strings.Contains(line, ": rescue,") || strings.Contains(line, ": finish,") {
			return strings.TrimSpace(line)
		}
	}
	return "nothing changed"
}

// killedAfter runs raft-v3 with events and kills it after the given one (from 1) of those that begin or end a task on a host; false when
// it ended before. The text says which one that was.
func (r *rig) killedAfter(n int, more ...string) (string, bool) {
	r.t.Helper()
	s := r.begin(append([]string{"raft-v3", "--yes", "--output", "json"}, more...)...)
	deadline := time.Now().Add(8 * time.Minute)
	for {
		seen := r.boundaries(s)
		if len(seen) >= n {
			s.kill()
			return seen[n-1], true
		}
		select {
		case <-s.done:
			return fmt.Sprintf("ended with code %d", s.command.ProcessState.ExitCode()), false
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			r.t.Fatal("raft-v3 does not end")
		}
	}
}

// boundaries are the beginnings and ends of tasks that a drover at work has told of.
func (r *rig) boundaries(s *started) []string {
	var seen []string
	text, err := os.ReadFile(s.output)
	if err != nil {
		r.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var e struct{ Kind, Host, Task, Status string }
		if json.Unmarshal([]byte(line), &e) == nil && (e.Kind == "host_start" || e.Kind == "host_result") {
			seen = append(seen, strings.TrimSpace(fmt.Sprintf("%s of %q on %s %s", e.Kind, e.Task, e.Host, e.Status)))
		}
	}
	return seen
}

// again runs the command until it ends well; the host may still be held by what the killed run began.
func (r *rig) again(more ...string) answer {
	r.t.Helper()
	for end := time.Now().Add(time.Minute); ; {
		a := r.run(append([]string{"raft-v3", "--yes"}, more...)...)
		if a.code != exitLocked || time.Now().After(end) {
			return a
		}
	}
}
