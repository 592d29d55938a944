// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/nomad/api"

	"drover/internal/bounded"
	"drover/internal/expression"
	"drover/internal/nomad"
	"drover/internal/wire"
)

const (
	// factNomad is the fact that nomad_facts sets, the others those of the other modules.
	factNomad  = "nomad"
	factStaged = "nomad_staged"
	factSwap   = "nomad_swap"
	factAllocs = "nomad_allocs"
	factDrain  = "nomad_drain"

	// maximumCredential bounds a file of this machine with a token, a certificate or a key, in bytes.
	maximumCredential = 1 << 20

	// pollEvery is how long to wait between two looks at something that should change within a second.
	pollEvery = 80 * time.Millisecond
	// voiceTimeout is how long a server may take to answer for itself when others wait for its word.
	voiceTimeout = 2 * time.Second
	// journalTimeout is how long a host may take to show the last lines of a unit that is in trouble.
	journalTimeout = 5 * time.Second
	// defaultUnit is the unit of HashiCorp's packages.
	defaultUnit = "nomad.service"
)

// cluster reaches the Nomad agents of a run's hosts, each through its own host, for one call of a module. It keeps
// the connections for that call.
type cluster struct {
	call    *Call
	mu      sync.Mutex
	clients map[string]*api.Client
	looked  map[string]nomad.HostFacts // what this call found out itself about hosts that nomad_facts has not seen
}

func newCluster(call *Call) *cluster {
	return &cluster{call: call, clients: map[string]*api.Client{}, looked: map[string]nomad.HostFacts{}}
}

func (c *cluster) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, client := range c.clients {
		client.Close()
	}
}

// variable reads an inventory variable of a host as text; undefined and empty are "".
func (c *cluster) variable(host, name string) string {
	value, ok := c.call.Fleet.Variable(host, name)
	if !ok || value == nil {
		return ""
	}
	if _, undefined := value.(expression.Undefined); undefined {
		return ""
	}
	return fmt.Sprint(value)
}

func (c *cluster) unit(host string) string {
	if unit := c.variable(host, "nomad_unit"); unit != "" {
		return unit
	}
	return defaultUnit
}

// readFact decodes a fact of a host into a struct.
func (c *cluster) readFact(host, name string, into any) bool {
	value, ok := c.call.Fleet.Variable(host, name)
	if !ok || value == nil {
		return false
	}
	text, err := json.Marshal(expression.ToGo(value))
	return err == nil && json.Unmarshal(text, into) == nil
}

// facts returns what nomad_facts, a survey of this call, or else an earlier survey of the run found on a host.
func (c *cluster) facts(host string) (nomad.HostFacts, bool) {
	if facts, ok := c.ownFacts(host); ok {
		return facts, true
	}
	return c.call.Run.Sightings.of(host)
}

// ownFacts returns what nomad_facts, or a survey of this call, found on a host.
func (c *cluster) ownFacts(host string) (nomad.HostFacts, bool) {
	c.mu.Lock()
	found, looked := c.looked[host]
	c.mu.Unlock()
	if looked {
		return found, true
	}
	var facts nomad.HostFacts
	ok := c.readFact(host, factNomad, &facts)
	facts.Host = host
	return facts, ok && facts.Unit != ""
}

func (c *cluster) mustFacts(host string) (nomad.HostFacts, error) {
	facts, ok := c.facts(host)
	if !ok {
		return facts, fmt.Errorf("nothing is known of Nomad on %s yet; run nomad_facts on it first", host)
	}
	return facts, nil
}

// servers lists the hosts that run a server in the region.
func (c *cluster) servers(region string) []string {
	var names []string
	for _, name := range c.call.Fleet.Names("all") {
		if facts, ok := c.facts(name); ok && facts.Server && (region == "" || facts.Region == region) {
			names = append(names, name)
		}
	}
	return names
}

func (c *cluster) host(ctx context.Context, name string) (Host, error) {
	if name == c.call.Name && c.call.Host != nil {
		return c.call.Host, nil
	}
	return c.call.Fleet.Host(ctx, name, c.call.Become)
}

func (c *cluster) credentials(host string) (nomad.Credentials, error) {
	environment := c.call.Run.Environment
	if environment == nil {
		environment = func(string) string { return "" }
	}
	return nomad.ReadCredentials(nomad.Sources{
		Variable:    func(name string) string { return c.variable(host, name) },
		Environment: environment,
		ReadFile:    func(path string) ([]byte, error) { return bounded.ReadFile(path, maximumCredential) },
	})
}

// connect returns a client of the agent on a host, whose address nomad_facts has found.
func (c *cluster) connect(ctx context.Context, name string) (*api.Client, error) {
	c.mu.Lock()
	client, ok := c.clients[name]
	c.mu.Unlock()
	if ok {
		return client, nil
	}
	facts, err := c.mustFacts(name)
	if err != nil {
		return nil, err
	}
	if !facts.Running {
		return nil, fmt.Errorf("%s: its agent does not run", name)
	}
	if facts.API.Address == "" {
		return nil, fmt.Errorf("%s: the address of its API is not known: %s", name, facts.Problem)
	}
	return c.connectTo(ctx, name, facts.API, facts.Server, facts.Region)
}

func (c *cluster) connectTo(ctx context.Context, name string, endpoint nomad.Endpoint, server bool, region string) (*api.Client, error) {
	host, err := c.host(ctx, name)
	if err != nil {
		return nil, err
	}
	credentials, err := c.credentials(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if credentials.Region != "" {
		region = credentials.Region
	}
	client, err := nomad.Connect(host, endpoint, nomad.TLSName(server, region), credentials)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if other, ok := c.clients[name]; ok {
		return other, nil
	}
	c.clients[name] = client
	return client, nil
}

// ask lets one agent speak for itself.
func (c *cluster) ask(ctx context.Context, name string) nomad.Answer {
	answer := nomad.Answer{Host: name}
	if facts, ok := c.facts(name); ok {
		answer.Identity = facts.Identity()
	}
	ctx, cancel := context.WithTimeout(ctx, voiceTimeout)
	defer cancel()
	client, err := c.connect(ctx, name)
	if err == nil {
		answer.View, err = nomad.Self(ctx, client, name)
	}
	if err != nil {
		answer.Error = err.Error()
	}
	return answer
}

// askAll asks agents at the same time, so that their answers are of the same moment.
func (c *cluster) askAll(ctx context.Context, names []string) []nomad.Answer {
	answers := make([]nomad.Answer, len(names))
	var group sync.WaitGroup
	for i, name := range names {
		group.Go(func() { answers[i] = c.ask(ctx, name) })
	}
	group.Wait()
	return answers
}

// anyServer returns a client of a server that answers, preferably not on the host `except`.
func (c *cluster) anyServer(ctx context.Context, region, except string) (*api.Client, error) {
	names := c.servers(region)
	slices.SortStableFunc(names, func(a, b string) int {
		switch {
		case a == except && b != except:
			return 1
		case b == except && a != except:
			return -1
		}
		return 0
	})
	if len(names) == 0 {
		return nil, errors.New("no server of the inventory is known")
	}
	var reasons []string
	for _, name := range names {
		answer := c.ask(ctx, name)
		if answer.Error != "" {
			reasons = append(reasons, name+": "+strings.TrimPrefix(answer.Error, name+": "))
			continue
		}
		return c.connect(ctx, name)
	}
	return nil, fmt.Errorf("no server of the inventory answers: %s", strings.Join(reasons, "; "))
}

// observer returns a client of an agent that can tell about the cluster: a server, else the agent of the host itself,
// which forwards the question.
func (c *cluster) observer(ctx context.Context, region, self string) (*api.Client, error) {
	if len(c.servers(region)) == 0 {
		return c.connect(ctx, self)
	}
	return c.anyServer(ctx, region, "")
}

// node asks the servers about the client on a host; reason says why they cannot tell.
func (c *cluster) node(ctx context.Context, id, host string) (node nomad.Node, reason string) {
	if id == "" {
		return node, "its node id is not known"
	}
	facts, _ := c.facts(host)
	observer, err := c.observer(ctx, facts.Region, host)
	if err == nil {
		node, err = nomad.AskNode(ctx, observer, id)
	}
	if err != nil {
		return node, err.Error()
	}
	return node, ""
}

// leaderOf finds who says that it leads, in the highest term.
func leaderOf(answers []nomad.Answer) *nomad.AgentView {
	var leader *nomad.AgentView
	for i := range answers {
		view := &answers[i].View
		if answers[i].Error == "" && view.Raft.State == nomad.Leader && (leader == nil || view.Raft.Term > leader.Raft.Term) {
			leader = view
		}
	}
	return leader
}

// LeaderLast asks all servers known by facts, and puts hosts into the order in which they are to be restarted, as nomad.Order has it and
// a plan shows it: those that do not answer, those that do not vote, voters, the leader, region by region. Nil when in one no server says that it leads.
func LeaderLast(ctx context.Context, fleet Fleet, run Run, become bool, hosts []string) ([]string, error) {
	c := newCluster(&Call{Fleet: fleet, Run: run, Become: become})
	defer c.close()
	byRegion := map[string][]string{}
	var regions []string
	for _, host := range hosts {
		facts, _ := c.facts(host)
		if byRegion[facts.Region] == nil {
			regions = append(regions, facts.Region)
		}
		byRegion[facts.Region] = append(byRegion[facts.Region], host)
	}
	var ordered []string
	for _, region := range regions {
		part := c.leaderLast(ctx, region, byRegion[region])
		if part == nil {
			return nil, ctx.Err()
		}
		ordered = append(ordered, part...)
	}
	return ordered, nil
}

// leaderLast orders the servers of one region, which have a leader of their own; nil when none says that it is.
func (c *cluster) leaderLast(ctx context.Context, region string, hosts []string) []string {
	answers := c.askAll(ctx, c.servers(region))
	if leaderOf(answers) == nil {
		return nil
	}
	known := map[string]nomad.ServerState{}
	for _, state := range nomad.States(answers) {
		known[state.Host] = state
	}
	servers := make([]nomad.ServerState, len(hosts))
	for i, host := range hosts {
		state, answers := known[host]
		if !answers {
			state = nomad.ServerState{Host: host, Down: true}
		}
		servers[i] = state
	}
	ordered := make([]string, len(hosts))
	for i, server := range nomad.Order(servers) {
		ordered[i] = server.Host
	}
	return ordered
}

// voice says a thing once until it changes.
type voice struct {
	call *Call
	last string
}

func (v *voice) say(text string) {
	if text != v.last && text != "" && v.call.Say != nil {
		v.call.Say("%s", text)
	}
	v.last = text
}

// agentOf asks the host about its agent.
func agentOf(ctx context.Context, host Host, unit string) (wire.AgentResult, error) {
	var result wire.AgentResult
	err := host.Call(ctx, wire.Agent{Unit: unit}, nil, &result)
	return result, err
}

// journalLines returns the last lines of the unit, for an error text; also when the time of what failed has run out.
func journalLines(ctx context.Context, host Host, unit string) []string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), journalTimeout)
	defer cancel()
	var result wire.UnitLogResult
	if err := host.Call(ctx, wire.UnitLog{Name: unit, Lines: 20}, nil, &result); err != nil {
		return []string{"(the unit's log cannot be read: " + err.Error() + ")"}
	}
	return result.Lines
}

// withLog is an error that ends with the last lines of the unit.
func withLog(what, unit string, lines []string) error {
	return fmt.Errorf("%s\nlast lines of %s:\n  %s", what, unit, strings.Join(lines, "\n  "))
}

// toVersion is what the modules begin with that bring one host to a version: the way to its cluster, which the caller
// closes, what nomad_facts found on the host, and the version.
func toVersion(call *Call) (*cluster, nomad.HostFacts, nomad.Version, error) {
	c := newCluster(call)
	target, err := targetVersion(call)
	if err != nil {
		return c, nomad.HostFacts{}, target, err
	}
	facts, err := c.mustFacts(call.Name)
	return c, facts, target, err
}

// targetVersion reads the argument version.
func targetVersion(call *Call) (nomad.Version, error) {
	return nomad.ParseVersion(call.Args.String("version"))
}

// unitDoc documents what every nomad module does about units and credentials.
const unitDoc = "The unit is the variable nomad_unit (default nomad.service). Credentials are the variables nomad_token, nomad_token_file, " +
	"nomad_cacert, nomad_client_cert, nomad_client_key, nomad_tls_server_name and nomad_region, else NOMAD_* of the environment."

func versionArg() Arg {
	return Arg{Name: "version", Kind: String, Required: true, Doc: "The Nomad version to arrive at, such as 1.11.0 or 1.11.0+ent."}
}

func acceptArgs() []Arg {
	return []Arg{
		{Name: "accept_down", Kind: List, Doc: "Servers that may be dead, by name; the others must still be a majority."},
		{Name: "accept_outage", Kind: Boolean, Default: false, Doc: "Go on with two servers or without a leader."},
	}
}

func accepted(call *Call) nomad.Accepted {
	return nomad.Accepted{Down: call.Args.Strings("accept_down"), Outage: call.Args.Bool("accept_outage")}
}
