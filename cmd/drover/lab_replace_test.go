// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"drover/internal/lab"
)

// Three servers of the old version give way to three hosts without Nomad. Each part builds on what the one before has left.
func TestLabReplaceServers(t *testing.T) {
	r := newRig(t, lab.Options{Servers: 3, Clients: 1, Plain: 3, Job: true}, "drover")
	r.serverGroups("h1\nh2\nh3", "s1\ns2\ns3")
	r.sub("what is refused before anything is touched", (*rig).replaceServersRefused)
	r.sub("a run that dies in the middle is continued by the same command", (*rig).serversReplaced)
	r.sub("lists of servers are edited where that is asked for, and the next run changes nothing", (*rig).retryJoinUpdated)
}

// The only server gives way to a host without Nomad. The command can be given again, for the lists of servers too.
func TestLabReplaceTheOnlyServer(t *testing.T) {
	r := newRig(t, lab.Options{Servers: 1, Clients: 1, Plain: 1}, "drover")
	r.serverGroups("h1", "s1")
	r.wantSaid(r.run(r.replaceServers()...), exitOK, "h1 joins: 2 voters", "c1: /etc/nomad.d/client.hcl:")
	r.wantSaid(r.run(r.replaceServers("--update-retry-join")...), exitOK, "s1: is gone already", "the lists of servers name the new ones: /etc/nomad.d/client.hcl")
	r.wantSaid(r.run(r.replaceServers("--accept-down", "c1")...), exitRefused, "--accept-down names c1, and the cluster has no such server")
}

// serverGroups gives the inventory the two groups.
func (r *rig) serverGroups(fresh, old string) {
	r.t.Helper()
	text, err := os.ReadFile(r.inventory)
	if err != nil {
		r.t.Fatal(err)
	}
	base, _, _ := strings.Cut(string(text), "\n[new_servers]")
	r.inventory = filepath.Join(r.t.TempDir(), "replace.ini")
	if err := os.WriteFile(r.inventory, []byte(base+"\n[new_servers]\n"+fresh+"\n\n[old_servers]\n"+old+"\n"), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) replaceServers(more ...string) []string {
	return append([]string{"replace-servers", "--to", newVersion, "--binary", r.binary, "--yes"}, more...)
}

func (r *rig) replaceServersRefused() {
	there := *r
	refused := func(fresh, old string, args []string, words ...string) {
		there.serverGroups(fresh, old)
		r.wantSaid(there.run(args...), exitRefused, words...)
	}
	there.serverGroups("h1\nh2\nh3", "s1\ns2\ns3")
	r.wantSaid(there.run("replace-servers", "--to", newVersion, "--check"), exitChanges, "6. s")
	before, pids := r.raftPeers(), r.pidsOf("s1", "s2", "s3", "c1")
	refused("h1\nh2", "s1\ns2\ns3", r.replaceServers(), "2 new servers are too few to take the places of 3")
	refused("h1\nc1\ns3", "s1\ns2\ns3\nc1", r.replaceServers(), "c1: it is in new_servers and in old_servers", "c1: this host is a client", "s3: it runs Nomad "+oldVersion+" already")
	refused("h1\nh2\nh3", "s1\ns2\ns3", []string{"replace-servers", "--to", "1.9.7", "--binary", r.binary, "--yes"}, "Nomad does not support downgrades")
	refused("h1\nh2\nh3", "s1\ns2\nh3", r.replaceServers(), "h3: there is no Nomad server")
	there.onHost("h2", "mkdir", "-p", "/opt/nomad/server")
	refused("h1\nh2\nh3", "s1\ns2\ns3", []string{"replace-servers", "--to", newVersion, "--check"}, "h2: the data directory /opt/nomad is not empty (/opt/nomad/server)")
	there.onHost("h2", "rm", "-rf", "/opt/nomad")
	follower, rest := "s1", []string{"s2", "s3"}
	if r.serverState("s1") == "Leader" {
		follower, rest = "s2", []string{"s1", "s3"}
	}
	there.onHost(follower, "systemctl", "stop", "nomad")
	refused("h1\nh2", strings.Join(rest, "\n"), r.replaceServers(), "the voter "+follower+" does not answer", "--accept-down "+follower)
	there.onHost(follower, "systemctl", "start", "nomad")
	r.eventually(follower+" to be back", time.Minute, func() bool { return r.serverState(follower) != "" })
	delete(pids, follower)
	if diff := cmp.Diff(before, r.raftPeers()); diff != "" {
		r.t.Errorf("raft peers (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(pids, r.pidsOf(append(rest, "c1")...)); diff != "" {
		r.t.Errorf("agents were restarted (-before +after):\n%s", diff)
	}
}

// serverState is what a server says that it is, where it knows who leads; "" else.
func (r *rig) serverState(host string) string {
	var self struct {
		Stats struct {
			Raft  struct{ State string }
			Nomad struct {
				Leader string `json:"leader_addr"`
			}
		}
	}
	if r.lab.Call(r.t.Context(), host, "GET", "/v1/agent/self", nil, &self) != nil || self.Stats.Nomad.Leader == "" {
		return ""
	}
	return self.Stats.Raft.State
}

// serversOfLab are all hosts that are, were or become servers.
func serversOfLab() []string { return []string{"h1", "h2", "h3", "s1", "s2", "s3"} }

// raftPeers are the members of raft's configuration by node, with their suffrage, as any server that follows or leads has it.
func (r *rig) raftPeers() map[string]bool {
	r.t.Helper()
	for _, host := range serversOfLab() {
		if peers := r.peersFrom(r.t.Context(), host, "?stale"); peers != nil {
			return peers
		}
	}
	r.t.Fatal("no server tells raft's configuration")
	return nil
}

func (r *rig) peersFrom(ctx context.Context, host, query string) map[string]bool {
	var configuration struct {
		Servers []struct {
			Node  string
			Voter bool
		}
	}
	if r.lab.Call(ctx, host, "GET", "/v1/operator/raft/configuration"+query, nil, &configuration) != nil {
		return nil
	}
	peers := map[string]bool{}
	for _, server := range configuration.Servers {
		peers[strings.TrimSuffix(server.Node, ".global")] = server.Voter
	}
	return peers
}

// quorumWatch looks at the servers from outside.
type quorumWatch struct {
	r        *rig
	gaps     []time.Duration // stretches without a leader
	sizes    []int           // numbers of voters, one after the other
	lame     []string        // voters that did not answer
	samples  int
	since    time.Time // of no leader; zero while there is one
	finished chan struct{}
}

// watchQuorum samples until the context ends.
func (r *rig) watchQuorum(ctx context.Context) *quorumWatch {
	w := &quorumWatch{r: r, finished: make(chan struct{})}
	go func() {
		defer close(w.finished)
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		for ctx.Err() == nil {
			w.sample(ctx)
			select {
			case <-ctx.Done():
			case <-ticker.C:
			}
		}
	}()
	return w
}

func (w *quorumWatch) sample(ctx context.Context) {
	states := w.states()
	if ctx.Err() != nil {
		return
	}
	w.samples++
	leader := ""
	for host, state := range states {
		if state == "Leader" {
			leader = host
		}
	}
	switch {
	case leader == "" && w.since.IsZero():
		w.since = time.Now()
	case leader != "" && !w.since.IsZero():
		w.gaps, w.since = append(w.gaps, time.Since(w.since)), time.Time{}
	}
	if leader == "" {
		return
	}
	peers := w.r.peersFrom(ctx, leader, "")
	voters := 0
	for host, voter := range peers {
		if !voter {
			continue
		}
		voters++
		// Who did not answer may have begun to since, or may not be a member any more.
		if states[host] == "" && w.r.serverState(host) == "" && w.r.peersFrom(ctx, leader, "")[host] {
			w.lame = append(w.lame, fmt.Sprintf("%s at %s", host, time.Now().Format("15:04:05.000")))
		}
	}
	if voters > 0 && (len(w.sizes) == 0 || w.sizes[len(w.sizes)-1] != voters) {
		w.sizes = append(w.sizes, voters)
	}
}

func (w *quorumWatch) states() map[string]string {
	states := map[string]string{}
	var mu sync.Mutex
	var group sync.WaitGroup
	for _, host := range serversOfLab() {
		group.Go(func() {
			state := w.r.serverState(host)
			mu.Lock()
			defer mu.Unlock()
			states[host] = state
		})
	}
	group.Wait()
	return states
}

// serversReplaced kills the first run when the first old server has gone from raft's configuration, and gives the command again.
func (r *rig) serversReplaced() {
	tasks, err := r.lab.Tasks("c1")
	if err != nil {
		r.t.Fatal(err)
	}
	pids := r.pidsOf("c1")
	ctx, stop := context.WithCancel(r.t.Context())
	watch := r.watchQuorum(ctx)
	s := r.begin(r.replaceServers()...)
	r.eventually("the first old server to go", 2*time.Minute, func() bool {
		peers := r.peersFrom(ctx, "h1", "?stale")
		return peers["h1"] && len(peers) == 3
	})
	s.kill()
	r.wantSaid(s.end(r.t, time.Second), -1, "h2: has no Nomad yet", "h1 joins: 4 voters", "configured like s1")
	a := r.run(r.replaceServers()...)
	stop()
	<-watch.finished
	r.wantSaid(a, exitOK, "h1: is a voter with "+newVersion+" already", "c1: /etc/nomad.d/client.hcl:", "client.server_join.retry_join names")
	r.t.Logf("the second run took %s; sizes %v, gaps %v, %d samples", a.took, watch.sizes, watch.gaps, watch.samples)
	if len(watch.lame) > 0 {
		r.t.Errorf("voters that did not run: %v", watch.lame)
	}
	for _, gap := range watch.gaps {
		if gap > 8*time.Second {
			r.t.Errorf("no leader for %s", gap)
		}
	}
	if slices.Max(watch.sizes) > 4 || slices.Min(watch.sizes) < 3 {
		r.t.Errorf("the numbers of voters were %v", watch.sizes)
	}
	if diff := cmp.Diff(map[string]bool{"h1": true, "h2": true, "h3": true}, r.raftPeers()); diff != "" {
		r.t.Errorf("raft peers (-want +got):\n%s", diff)
	}
	after, err := r.lab.Tasks("c1")
	if err != nil || len(tasks) == 0 || cmp.Diff(tasks, after) != "" {
		r.t.Errorf("tasks (-before +after): %v\n%s", err, cmp.Diff(tasks, after))
	}
	if !maps.Equal(pids, r.pidsOf("c1")) {
		r.t.Error("the client was restarted")
	}
	r.wantForgotten()
}

// wantForgotten checks the old servers and what the new ones know of them.
func (r *rig) wantForgotten() {
	for _, host := range []string{"s1", "s2", "s3"} {
		if state := r.onHost(host, "sh", "-c", "systemctl is-active nomad; systemctl is-enabled nomad; true"); !strings.Contains(state, "disabled") || strings.HasPrefix(state, "active") {
			r.t.Errorf("%s is %q", host, state)
		}
	}
	var list struct {
		Members []struct{ Name, Status string }
	}
	if err := r.lab.Call(r.t.Context(), "h1", "GET", "/v1/agent/members", nil, &list); err != nil {
		r.t.Fatal(err)
	}
	for _, member := range list.Members {
		if old := strings.HasPrefix(member.Name, "s"); old == (member.Status == "alive") || member.Status == "failed" {
			r.t.Errorf("%s is %s", member.Name, member.Status)
		}
	}
	var job struct{ Status string }
	if err := r.lab.Call(r.t.Context(), "h1", "GET", "/v1/job/practice", nil, &job); err != nil || job.Status != "running" {
		r.t.Errorf("the job is %q: %v", job.Status, err)
	}
	for _, host := range []string{"h1", "h2", "h3"} {
		text := r.onHost(host, "cat", "/etc/nomad.d/nomad.hcl", "/etc/nomad.d/server.hcl")
		if strings.Contains(text, "bootstrap_expect") || !strings.Contains(text, fmt.Sprintf("name       = %q", host)) || strings.Count(text, "10.") != 3 {
			r.t.Errorf("the configuration of %s:\n%s", host, text)
		}
	}
}

// retryJoinUpdated edits the client's list, and restarts the client, which has nothing but that list to find its servers by.
func (r *rig) retryJoinUpdated() {
	pids := r.pidsOf("c1", "h1", "h2", "h3")
	a := r.run(r.replaceServers("--update-retry-join")...)
	r.wantSaid(a, exitOK, "the lists of servers name the new ones: /etc/nomad.d/client.hcl", "s1: is gone already")
	if strings.Count(a.out, "changed: [") != 1 {
		r.t.Errorf("it changed more than one file: %s", a)
	}
	if diff := cmp.Diff(pids, r.pidsOf("c1", "h1", "h2", "h3")); diff != "" {
		r.t.Errorf("agents were restarted (-before +after):\n%s", diff)
	}
	r.onHost("c1", "systemctl", "restart", "nomad")
	r.eventually("c1 to find its servers", time.Minute, func() bool {
		var self struct {
			Stats struct{ Client map[string]string }
		}
		err := r.lab.Call(r.t.Context(), "c1", "GET", "/v1/agent/self", nil, &self)
		return err == nil && strings.Contains(self.Stats.Client["known_servers"], ":4647")
	})
}
