// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"drover/internal/nearest"
	"drover/internal/wire"
)

// States of a client, as the servers see it.
const (
	nodeReady = "ready"
	nodeDown  = "down"
)

// KindAcceptedDown is the kind of a host that is not upgraded because it was accepted as dead; the others have that of a LookFailure.
const KindAcceptedDown = "accepted_down"

// unreachable judges hosts that could not be asked. One that is a server of the cluster counts whatever the limit says.
func (p *planner) unreachable(survey Survey) {
	switch {
	case !p.options.SkipUnreachable || len(survey.Unreachable) == 0:
	case len(survey.Hosts) == 0:
		p.plan.refuse("", "repair the connections", "none of the hosts could be asked, so that there is nobody to go on with")
	case !slices.ContainsFunc(survey.Hosts, func(f HostFacts) bool { return f.Server && f.Answers }):
		p.plan.refuse("", "repair the connections to the servers", "no server could be asked, so that nobody knows which of the unreachable hosts is a client and may be skipped")
	}
	for _, host := range sortedKeys(survey.Unreachable) {
		failed := survey.Unreachable[host]
		member := survey.memberAt(host)
		switch {
		case p.options.Accepted.down(host), member != nil && p.acceptsDown(survey, member):
			p.unasked(survey, host, member, ActionNone, "accepted as dead")
			p.leave(host, KindAcceptedDown, "accepted as dead: upgrade it when it is back")
		case member != nil:
			p.unasked(survey, host, member, ActionRefused, "could not be asked")
			p.plan.Problems = append(p.plan.Problems, Problem{
				Host: host, Kind: failed.Kind, Text: failed.ofServer(), Remedy: failed.remedy(host) + ", or name it with --accept-down if it is dead",
			})
		case p.options.leavesOut(host) && len(survey.Raft.Servers) > 0:
		case p.options.Servers && survey.isClient(host):
		case p.options.SkipUnreachable:
			p.unasked(survey, host, nil, ActionNone, "could not be asked, and is skipped")
			p.leave(host, failed.Kind, failed.String())
		default:
			p.unasked(survey, host, nil, ActionRefused, "could not be asked")
			p.plan.Problems = append(p.plan.Problems, failed.problem(host))
		}
	}
}

// unasked is the step of a host about which nothing is known, except perhaps what the cluster says of it.
func (p *planner) unasked(survey Survey, host string, member *RaftMember, action, reason string) {
	step := Step{Host: host, Role: "unknown", Action: action, To: p.target, Reason: reason}
	switch {
	case member != nil:
		step.Role, step.Leader, step.Voter = "server", member.Leader, member.Voter
	case survey.isClient(host):
		step.Role = "client"
	}
	p.plan.Steps = append(p.plan.Steps, step)
}

// leave notes a host that was asked for and stays as it is.
func (p *planner) leave(host, kind, why string) {
	p.plan.NotUpgraded = append(p.plan.NotUpgraded, Problem{Host: host, Kind: kind, Text: why})
	p.plan.warn(host, "stays as it is: %s", why)
}

// isClient tells whether the servers know a client by the name or the address of a host that could not be asked.
func (s *Survey) isClient(host string) bool {
	return slices.ContainsFunc(s.Nodes, func(n NodeSummary) bool { return s.nodeIsHost(n, host) })
}

func (s *Survey) nodeIsHost(node NodeSummary, host string) bool {
	return node.Name == host || node.Address != "" && (node.Address == host || node.Address == s.Addresses[host])
}

// seen tells whether a server of the cluster is one of the hosts that could be asked.
func (s *Survey) seen(member *RaftMember) bool {
	return slices.ContainsFunc(s.Hosts, func(f HostFacts) bool { return f.isServer(member) })
}

// memberAt finds the server that an unreachable host is, by the node's name or by its address; nil when it is none, or one
// that another host has shown to be.
func (s *Survey) memberAt(host string) *RaftMember {
	for i, member := range s.Raft.Servers {
		if s.seen(&member) {
			continue
		}
		if member.isHost(host, s.Addresses[host]) {
			return &s.Raft.Servers[i]
		}
	}
	return nil
}

// isHost tells whether the server is a host of the inventory, by the node's name or by the address at which the inventory has it ("": none).
func (m *RaftMember) isHost(host, address string) bool {
	ip, _, err := net.SplitHostPort(m.Address)
	return m.name() == host || m.Node == host || err == nil && (ip == host || ip == address)
}

// name is the node's name without the region.
func (m *RaftMember) name() string {
	if dot := strings.LastIndex(m.Node, "."); dot > 0 {
		return m.Node[:dot]
	}
	return m.Node
}

func (p *planner) acceptsDown(survey Survey, member *RaftMember) bool {
	return p.options.Accepted.down(member.Node, member.name(), member.ID, member.Address)
}

// clusters groups the servers that answer by the raft configurations that they know: two that share an entry are of one cluster.
func (s *Survey) clusters() [][]HostFacts {
	var groups [][]HostFacts
	for _, facts := range sortFacts(s.Hosts) {
		if !facts.Server || !facts.Answers || len(facts.RaftServers) == 0 {
			continue
		}
		merged := []HostFacts{facts}
		groups = slices.DeleteFunc(groups, func(group []HostFacts) bool {
			if !slices.ContainsFunc(group, func(other HostFacts) bool { return shareServer(other.RaftServers, facts.RaftServers) }) {
				return false
			}
			merged = append(merged, group...)
			return true
		})
		groups = append(groups, sortFacts(merged))
	}
	slices.SortFunc(groups, func(a, b []HostFacts) int { return strings.Compare(a[0].Host, b[0].Host) })
	return groups
}

func shareServer(a, b []RaftServer) bool {
	return slices.ContainsFunc(a, func(x RaftServer) bool {
		return slices.ContainsFunc(b, func(y RaftServer) bool { return x.ID == y.ID || x.Address == y.Address })
	})
}

// inventory compares the inventory with the servers that the cluster has.
func (p *planner) inventory(survey Survey) {
	for i, member := range survey.Raft.Servers {
		found := survey.seen(&member) || slices.ContainsFunc(sortedKeys(survey.Unreachable), func(host string) bool { return survey.memberAt(host) == &survey.Raft.Servers[i] })
		if !found && !p.acceptsDown(survey, &member) {
			p.plan.refuse("", "add its host to the inventory, or name it with --accept-down if it is dead",
				"the cluster has a server %s at %s that is not in the inventory", member.Node, member.Address)
		}
	}
	p.twoClusters(survey)
	p.duplicates(survey)
	regions := map[string]bool{}
	for _, facts := range survey.Hosts {
		if facts.Answers {
			regions[facts.Region] = true
		}
	}
	if len(regions) > 1 {
		p.plan.refuse("", "upgrade one region at a time, the authoritative one first", "the inventory holds agents of several regions: %s", strings.Join(sortedKeys(regions), ", "))
	}
}

// twoClusters refuses an inventory with servers that form no cluster together.
func (p *planner) twoClusters(survey Survey) {
	if len(p.clusters) > 1 {
		var words []string
		for _, group := range p.clusters {
			words = append(words, describeCluster(survey, group))
		}
		p.plan.refuse("", "give each cluster an inventory of its own", "the inventory holds %d clusters: %s", len(p.clusters), strings.Join(words, "; and "))
		return
	}
	for _, facts := range sortFacts(survey.Hosts) {
		if !facts.Server || !facts.Answers || len(survey.Raft.Servers) == 0 {
			continue
		}
		view := AgentView{ServerID: facts.ServerID, RPC: facts.RPC}
		member := slices.ContainsFunc(survey.Raft.Servers, func(m RaftMember) bool { return view.is(m.RaftServer) || m.Address == facts.RPC })
		switch {
		case member:
		case survey.known(&facts):
			p.plan.refuse(facts.Host, "wait some 20 s until it votes again, and run again; if it does not, see its log: journalctl -u "+facts.Unit,
				"this server runs, and raft has dropped it: it was away for long, or has only just been started")
		default:
			p.plan.refuse(facts.Host, "remove it from the inventory, or upgrade each cluster with its own inventory", "this server is not in the raft configuration of the cluster that the other servers form")
		}
	}
}

// describeCluster names the hosts of one of several clusters.
func describeCluster(survey Survey, group []HostFacts) string {
	var servers, clients []string
	leader := "no leader"
	var addresses []string
	for _, facts := range group {
		servers = append(servers, facts.Host)
		if facts.Leader {
			leader = facts.Host + " leads"
		}
		for _, server := range facts.RaftServers {
			addresses = append(addresses, server.Address)
		}
	}
	for _, facts := range sortFacts(survey.Hosts) {
		if facts.Client && !facts.Server && slices.ContainsFunc(facts.KnownServers, func(known string) bool { return slices.Contains(addresses, known) }) {
			clients = append(clients, facts.Host)
		}
	}
	text := fmt.Sprintf("%s (%s, region %s)", someHosts(servers), leader, group[0].Region)
	if len(clients) > 0 {
		text += fmt.Sprintf(" with %s %s", counted(len(clients), "client"), someHosts(clients))
	}
	return text
}

// duplicates refuses two names for one agent, which would be upgraded twice and counted twice.
func (p *planner) duplicates(survey Survey) {
	names := map[string]string{}
	for _, facts := range sortFacts(survey.Hosts) {
		id := facts.ServerID + "/" + facts.NodeID
		if other, ok := names[id]; ok && id != "/" {
			p.plan.refuse(facts.Host, "remove one of the two names from the inventory", "is the same agent as %s", other)
		}
		names[id] = facts.Host
	}
}

// node is how the servers see the client on a host; nil when they do not say.
func (s *Survey) node(facts HostFacts) *NodeSummary {
	if !facts.Client {
		return nil
	}
	for i, node := range s.Nodes {
		if facts.NodeID != "" && node.ID == facts.NodeID || facts.NodeID == "" && node.Name == facts.NodeName {
			return &s.Nodes[i]
		}
	}
	return nil
}

// strangers are clients of the cluster about whose host nothing is known, by name.
func (s *Survey) strangers() []NodeSummary {
	var strangers []NodeSummary
	for _, node := range s.Nodes {
		known := slices.ContainsFunc(s.Hosts, func(f HostFacts) bool {
			return f.Client && (f.NodeID == node.ID || f.NodeID == "" && f.NodeName == node.Name)
		})
		if !known {
			strangers = append(strangers, node)
		}
	}
	slices.SortFunc(strangers, func(a, b NodeSummary) int { return strings.Compare(a.Name+a.ID, b.Name+b.ID) })
	return strangers
}

// nodes compares the inventory with the clients that the cluster has.
func (p *planner) nodes(survey Survey) {
	if !survey.NodesAsked || len(p.clusters) > 1 {
		return
	}
	var names []string
	down := 0
	for _, node := range survey.strangers() {
		if slices.ContainsFunc(sortedKeys(survey.Unreachable), func(host string) bool { return survey.nodeIsHost(node, host) }) {
			continue
		}
		names = append(names, node.Name)
		if node.Status == nodeDown {
			down++
		}
	}
	if len(names) > 0 {
		text := fmt.Sprintf("the cluster has %s that the inventory has not: %s", counted(len(names), "client"), someHosts(names))
		if down > 0 {
			text += fmt.Sprintf(" (%d of them down)", down)
		}
		p.plan.warn("", "%s; they stay as they are", text)
	}
	for _, facts := range sortFacts(survey.Hosts) {
		if !facts.Client || !facts.Answers || facts.NodeID == "" || survey.node(facts) != nil {
			continue
		}
		p.foreign(survey, facts)
	}
}

// foreign refuses a client that the servers of this cluster do not know.
func (p *planner) foreign(survey Survey, facts HostFacts) {
	ours := slices.ContainsFunc(survey.Raft.Servers, func(m RaftMember) bool { return slices.Contains(facts.KnownServers, m.Address) })
	if ours || len(facts.KnownServers) == 0 {
		p.exclude(facts.Host, "see in its log why it does not register", "the servers do not know this client")
		return
	}
	p.plan.refuse(facts.Host, "remove it from the inventory; its own cluster has an inventory of its own", "this client belongs to another cluster: its servers are %s", someHosts(facts.KnownServers))
}

// accepted says which risks are accepted, and what that loosens in this upgrade.
func (p *planner) accepted(survey Survey) {
	accept := func(flag, format string, args ...any) {
		p.plan.Accepted = append(p.plan.Accepted, AcceptedRisk{Flag: flag, What: fmt.Sprintf(format, args...)})
	}
	for _, name := range p.options.Down {
		p.acceptedDown(survey, name, accept)
	}
	voters := p.voters(survey)
	switch {
	case !p.options.Outage:
	case !slices.ContainsFunc(survey.Hosts, func(f HostFacts) bool { return f.Leader }) && p.stopsServer(survey):
		accept("--accept-outage", "servers are stopped although none leads; the state of each is saved first")
	case voters == 2 && p.stopsVoter(survey):
		accept("--accept-outage", "the control plane pauses while each of the two servers restarts; the state of each is saved first")
	default:
		accept("--accept-outage", nothing)
	}
	if p.options.SkipUnreachable {
		accept("--skip-unreachable", "%s", orNothing("left as they are, and the run ends with exit code 4: ", p.skipped()))
	}
	if p.options.AllowLeave {
		accept("--allow-leave", "%s", orNothing("leaving raft when they stop, and coming back without a vote for a while: ", p.leaves))
	}
	if p.options.Stop == wire.StopKILL {
		accept("--stop-signal KILL", "agents are ended at once with SIGKILL instead of being asked to stop")
	}
	for _, id := range p.options.AcceptNotes {
		accept("--accept-note "+id, "this upgrade note of Nomad does not stop the upgrade")
	}
	if p.options.AllowUnsupportedSkip {
		accept("--allow-unsupported-skip", "%s", orNothing(fmt.Sprintf("going over more than %d minor versions at once, which Nomad neither tests nor supports: ", maximumSkip), p.skips))
	}
}

// nothing is what an accepted risk loosens where it does not occur.
const nothing = "loosens nothing here"

func orNothing(what string, hosts []string) string {
	if len(hosts) == 0 {
		return nothing
	}
	return what + someHosts(hosts)
}

func (p *planner) skipped() []string {
	var hosts []string
	for _, left := range p.plan.NotUpgraded {
		if left.Kind != KindAcceptedDown {
			hosts = append(hosts, left.Host)
		}
	}
	return hosts
}

// acceptedDown says what it means that one server may be dead, and refuses a name that no server has.
func (p *planner) acceptedDown(survey Survey, name string, accept func(flag, format string, args ...any)) {
	flag := "--accept-down " + name
	known := []string{}
	for host := range survey.Unreachable {
		known = append(known, host)
	}
	for _, member := range survey.Raft.Servers {
		known = append(known, member.name(), member.Node, member.ID, member.Address)
	}
	for _, facts := range survey.Hosts {
		if !facts.Server {
			continue
		}
		known = append(known, facts.Host)
		if name == facts.Host || name == facts.NodeName {
			if facts.Answers {
				p.plan.refuse("", "take it out of --accept-down", "--accept-down names %s, and %s is alive: it answers", name, facts.Host)
			} else {
				accept(flag, "%s counts as dead", facts.Host)
			}
			return
		}
	}
	if !slices.Contains(known, name) {
		slices.Sort(known)
		remedy := "name a server of the cluster by its host, its node or its raft id"
		if near := nearest.Hint(name, known); near != "" {
			remedy += "; " + near
		}
		p.plan.refuse("", remedy, "--accept-down names %s, and the cluster has no such server", name)
		return
	}
	if member := survey.named(name); member != nil && !survey.seen(member) && survey.alive(member) != "" {
		p.plan.refuse("", "add its host to the inventory, reachable from here; if it has died this minute, run again when gossip has noticed",
			"--accept-down names %s, and %s", name, survey.alive(member))
		return
	}
	voters := p.voters(survey)
	accept(flag, "counts as dead: %d of %d voters are left, and %d are needed", voters-len(p.votersUnasked(survey)), voters, voters/2+1)
}

// someHosts names a few hosts, and how many more there are.
func someHosts(names []string) string {
	const shown = 8
	if len(names) <= shown {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:shown-1], ", "), len(names)-shown+1)
}

func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
