// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// memberName is how gossip names a server.
func memberName(f *HostFacts) string { return f.NodeName + "." + f.Region }

// told are the servers that have told of their gossip.
func (c *clusterView) told() []string { return sortedKeys(c.Members) }

// statuses are what servers say of a member, by status: those that say it. Only others than the member itself are asked where there are any.
func (c *clusterView) statuses(name, self string) map[string][]string {
	said := map[string][]string{}
	for _, host := range c.told() {
		if host == self && len(c.Members) > 1 {
			continue
		}
		status := "unknown"
		if i := slices.IndexFunc(c.Members[host], func(m Member) bool { return m.Name == name }); i >= 0 {
			status = c.Members[host][i].Status
		}
		said[status] = append(said[status], host)
	}
	return said
}

// seen is the word for a server's row.
func (c *clusterView) seen(f *HostFacts) string {
	return strings.Join(sortedKeys(c.statuses(memberName(f), f.Host)), "/")
}

// gossip compares what the servers know of each other.
func (c *clusterView) gossip() {
	if len(c.Members) == 0 {
		return
	}
	ours := map[string]*HostFacts{}
	for _, f := range c.servers() {
		ours[memberName(f)] = f
		c.member(f)
	}
	strangers := map[string]Member{}
	for _, host := range c.told() {
		for _, member := range c.Members[host] {
			if ours[member.Name] == nil {
				strangers[member.Name] = member
			}
		}
	}
	for _, name := range sortedKeys(strangers) {
		member := strangers[name]
		inRaft := slices.ContainsFunc(c.Raft.Servers, func(m RaftMember) bool { return m.Node == name })
		switch {
		case member.Status == "left" && !inRaft:
			c.note(findMembers, "", "Nomad forgets it by itself", "gossip remembers the server %s at %s, which has left", name, member.Addr)
		case inRaft: // said where raft's configuration is looked at
		default:
			c.unproven(findStranger, "", "add its host to the inventory", "gossip has the server %s at %s (%s), which is not in the inventory", name, member.Addr, member.Status)
		}
	}
}

// member compares what a server is with what the others see.
func (c *clusterView) member(f *HostFacts) {
	said := c.statuses(memberName(f), f.Host)
	view := c.view(f.Host)
	for _, status := range sortedKeys(said) {
		hosts := someHosts(said[status])
		switch {
		case status == "alive" && view == nil && !f.Running:
			c.note(findMembers, f.Host, "", "gossip on %s has not noticed yet that its agent does not run", hosts)
		case status == "alive":
		case view == nil && status != "unknown": // its agent's own state says more
		case status == "unknown" && view == nil:
		case status == "unknown":
			c.bad(findMembers, f.Host, "see its server_join { retry_join } and whether it reaches their gossip ports", "gossip on %s does not know it", hosts)
		default:
			c.bad(findMembers, f.Host, "see whether their gossip ports (4648, TCP and UDP) reach each other; a server that has left joins when it is restarted", "its agent runs, and gossip on %s has it as %s", hosts, status)
		}
	}
	if view == nil {
		return
	}
	for _, host := range c.told() {
		for _, member := range c.Members[host] {
			if member.Name == memberName(f) && member.Status == "alive" && host != f.Host && member.Tags["build"] != "" && !buildIs(member.Tags["build"], view.Version) {
				c.bad(findMembers, f.Host, "wait: gossip needs a moment", "it runs %s, and %s still sees version %s", view.Version, host, member.Tags["build"])
			}
		}
	}
}

// autopilot compares the leader's opinion with what the servers say. It lags in both directions, so that the servers' own words count first.
func (c *clusterView) autopilot() {
	report := c.Autopilot
	switch {
	case c.AutopilotError != "":
		c.row.Autopilot = "not asked"
		if c.leader != nil {
			c.unproven(findNotAsked, "", "give a token that may ask it (operator:read)", "autopilot cannot be asked: %s", c.AutopilotError)
		}
		return
	case report.Unavailable != "":
		c.row.Autopilot = "no opinion"
		switch old := c.oldProtocol(); {
		case c.leader == nil, old: // both are said elsewhere
		default:
			c.bad(findAutopilot, "", "it has none for some seconds after an election: look again", "autopilot has no opinion: %s", strings.TrimSpace(report.Unavailable))
		}
		return
	case report.Healthy:
		c.row.Autopilot = "healthy"
	default:
		c.row.Autopilot = "unhealthy"
	}
	if c.leader == nil {
		return
	}
	found := c.opinions(report)
	if !report.Healthy && len(found) == 0 {
		found = []string{"it calls the cluster unhealthy"}
	}
	if len(found) == 0 {
		return
	}
	c.bad(findAutopilot, "", "its report is up to 40 s old: look again; if it stays so, believe the servers' own words above", "autopilot does not agree: %s", strings.Join(found, "; "))
}

func (c *clusterView) oldProtocol() bool {
	return slices.ContainsFunc(c.servers(), func(f *HostFacts) bool {
		view := c.view(f.Host)
		return view != nil && view.Raft.Protocol > 0 && view.Raft.Protocol < 3
	})
}

// opinions are where autopilot's report differs from what the servers say.
func (c *clusterView) opinions(report Autopilot) []string {
	var found []string
	add := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	known := map[string]bool{}
	for _, server := range report.Servers {
		known[server.ID] = true
		f := c.find(RaftServer{ID: server.ID, Address: server.ID})
		voter := slices.ContainsFunc(c.leader.Raft.Servers, func(s RaftServer) bool { return s.ID == server.ID && s.Voter })
		switch {
		case f == nil && slices.ContainsFunc(c.denied(), func(h *HostFacts) bool { return h.ServerID == server.ID }): // it answers, and refuses the token
		case f == nil && server.Healthy:
			add("it calls %s healthy, which does not answer", cmp.Or(server.Name, server.ID))
		case f == nil:
		case !server.Healthy:
			add("it calls %s unhealthy", f.Host)
		case !buildIs(server.Version, c.view(f.Host).Version):
			add("it sees %s with version %s, which runs %s", f.Host, server.Version, c.view(f.Host).Version)
		case server.Voter != voter:
			add("it says %s is a voter: %t; raft's configuration says %t", f.Host, server.Voter, voter)
		}
	}
	for _, server := range c.leader.Raft.Servers {
		if !known[server.ID] {
			add("it does not know %s", c.name(server))
		}
	}
	if len(report.Servers) != len(c.leader.Raft.Servers) {
		add("it counts %d servers and raft's configuration has %d", len(report.Servers), len(c.leader.Raft.Servers))
	}
	if want := (c.row.Voters - 1) / 2; c.row.Tolerance == want && report.FailureTolerance != want {
		add("it counts a failure tolerance of %d, and by the servers' answers it is %d", report.FailureTolerance, want)
	}
	return found
}
