// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// ServeHTTP is the fake of Nomad's HTTP API.
func (a *fakeAgent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := a.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	if !a.running || !a.alive {
		panic(http.ErrAbortHandler)
	}
	path := r.URL.Path
	switch {
	case c.drainAPI(w, r):
	case path == "/v1/agent/self":
		answer(w, a.self())
	case path == "/v1/acl/token/self":
		answer(w, map[string]any{"Type": "client"})
	case c.denied && strings.HasPrefix(path, "/v1/operator"):
		http.Error(w, "Permission denied", http.StatusForbidden)
	case path == "/v1/operator/raft/configuration":
		answer(w, map[string]any{"Servers": c.raft()})
	case path == "/v1/operator/raft/peer" && r.Method == http.MethodDelete:
		c.removePeer(w, strings.TrimPrefix(r.URL.Query().Get("id"), "id-"))
	case path == "/v1/agent/force-leave":
		c.agent(strings.TrimSuffix(r.URL.Query().Get("node"), ".global")).farewell = true
	case path == "/v1/operator/autopilot/health":
		answer(w, map[string]any{"Healthy": true})
	case path == "/v1/agent/members":
		answer(w, map[string]any{"Members": c.members()})
	case path == "/v1/nodes":
		answer(w, c.nodes())
	case path == "/v1/operator/raft/transfer-leadership":
		c.transfer(w, r.URL.Query().Get("id"))
	case path == "/v1/operator/scheduler/configuration" && r.Method == http.MethodGet:
		answer(w, map[string]any{"SchedulerConfig": map[string]any{"SchedulerAlgorithm": "spread", "ModifyIndex": 5, "New": "kept"}})
	case path == "/v1/operator/scheduler/configuration":
		var body map[string]any
		_ = json.NewDecoder(r.Body).Decode(&body)
		if body["New"] != "kept" || r.URL.Query().Get("cas") != "5" {
			c.t.Errorf("the scheduler's configuration was written as %v, cas %q", body, r.URL.Query().Get("cas"))
		}
		c.writes, c.stuck = c.writes+1, false
		answer(w, map[string]any{"Updated": true})
	case path == "/v1/operator/snapshot":
		c.snapshot(w)
	case strings.HasSuffix(path, "/allocations"):
		answer(w, []any{map[string]any{"ID": "11111111-a", "ClientStatus": "running", "DesiredStatus": "run"}})
	case strings.HasPrefix(path, "/v1/node/"):
		node := c.agent(strings.TrimPrefix(path, "/v1/node/node-"))
		answer(w, map[string]any{
			"ID": "node-" + node.name, "Name": node.name, "Status": cmp.Or(node.status, "ready"), "SchedulingEligibility": "eligible",
			"Attributes": map[string]string{"nomad.version": node.registered()}, "Drivers": node.drivers,
		})
	default:
		http.NotFound(w, r)
	}
}

// nodes is the list of clients.
func (c *fakeCluster) nodes() []any {
	nodes := []any{}
	for _, a := range c.agents {
		if !a.server {
			nodes = append(nodes, map[string]any{"ID": "node-" + a.name, "Name": a.name, "Status": cmp.Or(a.status, "ready"), "SchedulingEligibility": "eligible", "Version": a.version})
		}
	}
	return nodes
}

func answer(w http.ResponseWriter, value any) { _ = json.NewEncoder(w).Encode(value) }

func (a *fakeAgent) self() map[string]any {
	c := a.cluster
	config := map[string]any{
		"NodeName": a.name, "Region": cmp.Or(a.region, "global"), "Datacenter": "dc1", "DataDir": "/opt/nomad", "LeaveOnInt": a.leave.OnInterrupt, "LeaveOnTerm": a.leave.OnTerminate,
		"AdvertiseAddrs": map[string]string{"RPC": a.name + ":4647"}, "Server": map[string]any{"Enabled": a.server}, "Client": map[string]any{"Enabled": !a.server},
		"Version": map[string]string{"Version": a.version}, "ACL": map[string]bool{"Enabled": true},
	}
	if !a.server {
		last := time.Since(a.beat)
		text := last.String()
		if last < 0 {
			text = "2562047h47m16.854775807s"
		}
		return map[string]any{"config": config, "stats": map[string]any{"client": map[string]string{
			"node_id": "node-" + a.name, "known_servers": "s1:4647", "last_heartbeat": text, "heartbeat_ttl": "15s", "num_allocations": "1",
		}}}
	}
	raft := map[string]string{
		"state": "Follower", "term": fmt.Sprint(c.term), "last_contact": a.contact, "commit_index": "50", "applied_index": fmt.Sprint(a.applied), "fsm_pending": "0",
		"num_peers": fmt.Sprint(len(c.raft()) - 1), "protocol_version": "3",
	}
	if a.leader {
		raft["state"], raft["last_contact"] = "Leader", "0"
	}
	var entries []string
	leader := ""
	for _, other := range c.agents {
		if other.server && !other.removed {
			suffrage := "Voter"
			if other.quiet {
				suffrage = "Nonvoter"
			}
			entries = append(entries, fmt.Sprintf("{Suffrage:%s ID:id-%s Address:%s:4647}", suffrage, other.name, other.name))
		}
		if other.leader {
			leader = other.name + ":4647"
		}
	}
	raft["latest_configuration"] = "[" + strings.Join(entries, " ") + "]"
	return map[string]any{
		"config": config, "member": map[string]any{"Tags": map[string]string{"id": "id-" + a.name}},
		"stats": map[string]any{"raft": raft, "nomad": map[string]string{"leader_addr": leader}},
	}
}

func (c *fakeCluster) raft() []map[string]any {
	var servers []map[string]any
	for _, a := range c.agents {
		if a.server && !a.removed {
			servers = append(servers, map[string]any{"ID": "id-" + a.name, "Node": a.name + ".global", "Address": a.name + ":4647", "Leader": a.leader, "Voter": !a.quiet, "RaftProtocol": "3"})
		}
	}
	return servers
}

func (c *fakeCluster) members() []map[string]any {
	var members []map[string]any
	for _, a := range c.agents {
		if a.server {
			status := "alive"
			if a.farewell {
				status = "left"
			}
			members = append(members, map[string]any{"Name": a.name + ".global", "Status": status, "Tags": map[string]string{"region": "global", "build": a.version}})
		}
	}
	return members
}

// removePeer takes a server out of raft's configuration; a leader that removes itself steps down.
func (c *fakeCluster) removePeer(w http.ResponseWriter, name string) {
	a := c.agent(name)
	if a == nil || a.removed {
		http.Error(w, "id not found in raft configuration", http.StatusInternalServerError)
		return
	}
	a.removed = true
	c.removals = append(c.removals, name)
	for _, other := range c.agents {
		if a.leader && other.server && !other.removed {
			a.leader, other.leader = false, true
			c.term++
		}
	}
	answer(w, nil)
}

func (c *fakeCluster) transfer(w http.ResponseWriter, id string) {
	to := c.agent(strings.TrimPrefix(id, "id-"))
	if to == nil {
		http.Error(w, "id not found in raft configuration", http.StatusBadRequest)
		return
	}
	for _, a := range c.agents {
		a.leader = a == to
	}
	c.term++
	c.transfers = append(c.transfers, to.name)
	answer(w, map[string]any{"Noop": false})
}

// snapshot answers with a small snapshot that is correct in form.
func (c *fakeCluster) snapshot(w http.ResponseWriter) {
	if c.stuck {
		http.Error(w, "cannot take snapshot now, wait until the configuration entry at 7 has been applied (have applied 6)", http.StatusInternalServerError)
		return
	}
	content := snapshotOf("state", fmt.Sprintf("%x", sha256.Sum256([]byte("state"))))
	sum := sha256.Sum256(content)
	w.Header().Set("Digest", "sha-256="+base64.StdEncoding.EncodeToString(sum[:]))
	_, _ = w.Write(content)
}

func snapshotOf(state, sum string) []byte {
	var b bytes.Buffer
	zipped := gzip.NewWriter(&b)
	archive := tar.NewWriter(zipped)
	for _, file := range [][2]string{{"state.bin", state}, {"SHA256SUMS", sum + "  state.bin\n"}} {
		_ = archive.WriteHeader(&tar.Header{Name: file[0], Size: int64(len(file[1])), Mode: 0o600})
		_, _ = archive.Write([]byte(file[1]))
	}
	_ = archive.Close()
	_ = zipped.Close()
	return b.Bytes()
}
