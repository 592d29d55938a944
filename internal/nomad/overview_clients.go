// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"fmt"
	"slices"
	"time"
)

func (c *clusterView) client(f *HostFacts) {
	row := ClientRow{Host: f.Host, Version: f.VersionRunning, Disk: f.VersionDisk, Datacenter: f.Datacenter}
	view := c.view(f.Host)
	if view != nil {
		row.Allocs = view.Heartbeat.Allocs
	} else if answer := c.answers[f.Host]; f.Answers && answer != nil && !f.Server {
		c.bad(findNoAnswer, f.Host, "see its log: journalctl -u "+f.Unit, "its agent has stopped answering: %s", reasonOf(answer))
	}
	i := slices.IndexFunc(c.Nodes, func(n NodeSummary) bool { return n.ID != "" && n.ID == f.NodeID })
	if i >= 0 {
		node := c.Nodes[i]
		row.Status, row.Eligibility, row.Draining = node.Status, node.SchedulingEligibility, node.Drain
		c.node(f, view, node)
	} else if c.NodesError == "" {
		c.unknownClient(f)
	}
	c.overview.Clients = append(c.overview.Clients, row)
	if view == nil {
		return
	}
	c.tooOld(f)
	beat := view.Heartbeat
	switch {
	case len(beat.servers()) == 0:
		c.bad(findHeartbeat, f.Host, "see its client { servers } or server_join { retry_join }, and whether it reaches port 4647 of the servers", "it knows no server")
	case beat.TTL > 0 && beat.Last > beat.TTL+2*time.Second:
		c.bad(findHeartbeat, f.Host, "see whether it reaches port 4647 of the servers", "no server has answered its heartbeat %s", ago(beat.Last))
	}
}

// tooOld finds a client that servers of the region turn away, although they may call it ready for a while.
func (c *clusterView) tooOld(f *HostFacts) {
	var servers []string
	newest := Version{}
	for _, server := range c.servers() {
		if server.Running && turnsAway(server.VersionRunning, f.VersionRunning) {
			servers = append(servers, server.Host)
			if !newest.Known() || newest.Compare(server.VersionRunning) < 0 {
				newest = server.VersionRunning
			}
		}
	}
	if len(servers) > 0 && !f.Server {
		c.bad(findOldClient, f.Host, "drover upgrade-clients --to "+newest.String(), "this client runs %s, and servers of 1.9 and later (%s) turn away clients before 1.6: it learns nothing of its allocations any more", f.VersionRunning, someHosts(servers))
	}
}

// unknownClient is one that the servers do not list.
func (c *clusterView) unknownClient(f *HostFacts) {
	if !f.Running && c.leftAlone(f) {
		return
	}
	ours := slices.ContainsFunc(c.servers(), func(h *HostFacts) bool { return h.RPC != "" && slices.Contains(f.KnownServers, h.RPC) })
	if f.Answers && len(f.KnownServers) > 0 && !ours {
		c.bad(findNode, f.Host, "remove it from the inventory; its own cluster has an inventory of its own", "this client belongs to another cluster: its servers are %s", someHosts(f.KnownServers))
		return
	}
	c.bad(findNode, f.Host, "see its log: journalctl -u "+f.Unit, "the servers do not know this client")
}

// node is a client as the servers see it.
func (c *clusterView) node(f *HostFacts, view *AgentView, node NodeSummary) {
	switch {
	case node.Status == nodeReady && !f.Running:
		c.note(findNodeStatus, f.Host, "", "the servers still call it ready: they notice a dead client when its heartbeat is overdue, after an election only after 5 minutes")
	case node.Status == nodeReady:
	case !f.Running && c.leftAlone(f):
		c.note(findNodeStatus, f.Host, "", "the servers call it %s", node.Status)
	case view != nil:
		c.bad(findNodeStatus, f.Host, "see whether it reaches port 4647 of the servers, and its log: journalctl -u "+f.Unit, "its agent runs, and the servers call it %s", node.Status)
	default:
		c.bad(findNodeStatus, f.Host, "", "the servers call it %s: its allocations are lost and replaced elsewhere", node.Status)
	}
	if view != nil && node.Version != "" && !buildIs(node.Version, view.Version) {
		c.bad(findNodeVersion, f.Host, "wait: it registers again within seconds", "it runs %s, and the servers still have it with version %s", view.Version, node.Version)
	}
	switch {
	case node.Drain:
		c.note(findEligibility, f.Host, "", "it is draining")
	case node.SchedulingEligibility != "eligible" && node.SchedulingEligibility != "":
		c.note(findEligibility, f.Host, "nomad node eligibility -enable "+node.ID, "it is %s: it takes no new allocations", node.SchedulingEligibility)
	}
}

// nodes are the clients that the inventory does not have.
func (c *clusterView) nodes() {
	if c.NodesError != "" {
		if c.leader != nil {
			c.unproven(findNotAsked, "", "give a token that may list nodes (node:read)", "the servers cannot be asked about their clients: %s", c.NodesError)
		}
		return
	}
	var gone, alive []string
	for _, node := range c.Nodes {
		switch known := slices.ContainsFunc(c.hosts, func(f *HostFacts) bool { return f.NodeID == node.ID }); {
		case known:
		case node.Status == nodeDown:
			gone = append(gone, node.Name)
		default:
			alive = append(alive, fmt.Sprintf("%s (%s, %s)", node.Name, node.Status, node.Version))
		}
	}
	if len(alive) > 0 {
		c.unproven(findNode, "", "add them to the inventory", "the cluster has %s that the inventory has not: %s", counted(len(alive), "client"), someHosts(alive))
	}
	if len(gone) > 0 {
		c.note(findNode, "", "", "the servers remember %s that the inventory has not, as down: %s", counted(len(gone), "client"), someHosts(gone))
	}
}

// jobs counts allocations that wait.
func (c *clusterView) jobs() {
	if c.JobsError != "" {
		if c.leader != nil {
			c.unproven(findNotAsked, "", "give a token that may list jobs (namespace read-job)", "the jobs cannot be listed: %s", c.JobsError)
		}
		return
	}
	var queued, starting, lost []string
	for _, job := range c.Jobs {
		if job.Status == "dead" {
			continue
		}
		c.row.Jobs++
		c.row.Running += job.Running
		c.row.Starting += job.Starting
		c.row.Queued += job.Queued
		name := job.Name()
		if job.Queued > 0 {
			queued = append(queued, fmt.Sprintf("%s (%d)", name, job.Queued))
		}
		if job.Starting > 0 {
			starting = append(starting, fmt.Sprintf("%s (%d)", name, job.Starting))
		}
		if job.Lost > 0 {
			lost = append(lost, fmt.Sprintf("%s (%d)", name, job.Lost))
		}
	}
	if len(queued) > 0 {
		c.bad(findAllocations, "", "nomad job status NAME says what no client has room or the attributes for", "allocations wait for a place: %s", someHosts(queued))
	}
	if len(starting) > 0 {
		c.unproven(findAllocations, "", "wait; if it stays so, nomad alloc status says why", "allocations are pending: %s", someHosts(starting))
	}
	if len(lost) > 0 {
		c.note(findAllocations, "", "", "allocations were lost with their client: %s", someHosts(lost))
	}
}
