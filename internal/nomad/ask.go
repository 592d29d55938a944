// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/hashicorp/nomad/api"
)

// get asks one endpoint and decodes the answer. ctx must have a deadline or gets answerTimeout.
func get(ctx context.Context, client *api.Client, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	query := (&api.QueryOptions{}).WithContext(ctx)
	if _, err := client.Raw().Query(path, into, query); err != nil {
		return fmt.Errorf("ask %s: %w", path, plain(err))
	}
	return nil
}

// statusCode is the HTTP status inside an error, or 0.
func statusCode(err error) (int, string) {
	var unexpected api.UnexpectedResponseError
	if errors.As(err, &unexpected) {
		return unexpected.StatusCode(), unexpected.Body()
	}
	return 0, ""
}

// IsForbidden tells whether an error means that the token lacks a capability (or that there is no token).
func IsForbidden(err error) bool {
	code, body := statusCode(err)
	return code == http.StatusForbidden || strings.Contains(body, "Permission denied") || strings.Contains(body, "ACL token not found")
}

// plain drops the URL that net/http puts before the reason.
func plain(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

// Self asks an agent about itself.
func Self(ctx context.Context, client *api.Client, host string) (AgentView, error) {
	asked := time.Now()
	var answer selfAnswer
	if err := get(ctx, client, "/v1/agent/self", &answer); err != nil {
		return AgentView{}, err
	}
	return answer.view(host, asked)
}

// RaftConfiguration is the raft configuration as a server knows it, with who leads.
type RaftConfiguration struct {
	Servers []RaftMember `json:"servers"`
}

// RaftMember is one entry with what gossip adds to it.
type RaftMember struct {
	RaftServer
	Node     string `json:"node"` // NAME.REGION, or "(unknown)"
	Leader   bool   `json:"leader"`
	Protocol int    `json:"protocol"` // 0: unknown
}

// AskRaft asks for the raft configuration. stale accepts the answer of a server that does not lead.
func AskRaft(ctx context.Context, client *api.Client, stale bool) (RaftConfiguration, error) {
	path := "/v1/operator/raft/configuration"
	if stale {
		path += "?stale"
	}
	var answer struct {
		Servers []struct {
			ID, Node, Address string
			Leader, Voter     bool
			RaftProtocol      any
		}
	}
	if err := get(ctx, client, path, &answer); err != nil {
		return RaftConfiguration{}, err
	}
	var configuration RaftConfiguration
	for _, s := range answer.Servers {
		configuration.Servers = append(configuration.Servers, RaftMember{
			RaftServer: RaftServer{ID: s.ID, Address: s.Address, Voter: s.Voter},
			Node:       s.Node, Leader: s.Leader, Protocol: int(number(fmt.Sprint(s.RaftProtocol))),
		})
	}
	return configuration, nil
}

// Autopilot is the leader's opinion of the servers. It lags by seconds in both directions.
type Autopilot struct {
	Healthy          bool              `json:"healthy"`
	FailureTolerance int               `json:"failure_tolerance"`
	Servers          []AutopilotServer `json:"servers"`
	// Unavailable says why there is no opinion, as below raft protocol 3 or right after an election.
	Unavailable string `json:"unavailable,omitempty"`
}

// AutopilotServer is one server's entry.
type AutopilotServer struct {
	ID      string
	Name    string
	Version string
	Healthy bool
	Voter   bool
}

// AskAutopilot asks for autopilot's health report. 429 (unhealthy, with a body) and 500 (no opinion) are answers too.
func AskAutopilot(ctx context.Context, client *api.Client) (Autopilot, error) {
	var answer struct {
		Healthy          bool
		FailureTolerance int
		Servers          []AutopilotServer
	}
	err := get(ctx, client, "/v1/operator/autopilot/health", &answer)
	switch code, body := statusCode(err); {
	case err == nil:
	case code == http.StatusTooManyRequests:
		if err := json.Unmarshal([]byte(body), &answer); err != nil {
			return Autopilot{}, fmt.Errorf("ask /v1/operator/autopilot/health: status 429 with a body that is not a report: %w", err)
		}
	case code == http.StatusInternalServerError && !IsForbidden(err):
		return Autopilot{Unavailable: body}, nil
	default:
		return Autopilot{}, err
	}
	health := Autopilot{Healthy: answer.Healthy, FailureTolerance: answer.FailureTolerance, Servers: answer.Servers}
	if len(health.Servers) == 0 {
		health.Unavailable = "autopilot has no report yet"
	}
	return health, nil
}

// Member is a server as gossip knows it.
type Member struct {
	Name   string            `json:"name"` // NAME.REGION
	Addr   string            `json:"addr"`
	Status string            `json:"status"` // alive, leaving, left, failed
	Tags   map[string]string `json:"tags,omitempty"`
}

// AskMembers lists the servers of a region that an agent knows by gossip. A client-only agent forwards the question.
func AskMembers(ctx context.Context, client *api.Client, region string) ([]Member, error) {
	var answer struct{ Members []Member }
	if err := get(ctx, client, "/v1/agent/members", &answer); err != nil {
		return nil, err
	}
	var members []Member
	for _, member := range answer.Members {
		if region == "" || member.Tags["region"] == region {
			members = append(members, member)
		}
	}
	return members, nil
}

// Node is a client as the servers know it.
type Node struct {
	ID          string            `json:"id"`
	Name        string            `json:"name"`
	Status      string            `json:"status"`      // initializing, ready, down, disconnected
	Eligibility string            `json:"eligibility"` // eligible, ineligible
	Draining    bool              `json:"draining"`
	LastDrain   Drain             `json:"last_drain"`
	Version     string            `json:"version"` // attribute nomad.version
	Datacenter  string            `json:"datacenter"`
	Drivers     map[string]Driver `json:"drivers"`
}

// Ready tells whether the servers place allocations on it, or would if it were eligible.
func (n *Node) Ready() bool { return n.Status == nodeReady }

// Driver is the health of one task driver.
type Driver struct {
	Detected bool `json:"detected"`
	Healthy  bool `json:"healthy"`
}

// AskNode asks a server about one client.
func AskNode(ctx context.Context, client *api.Client, id string) (Node, error) {
	var answer struct {
		ID, Name, Status, SchedulingEligibility, Datacenter string
		Drain                                               bool
		DrainStrategy                                       any
		Attributes                                          map[string]string
		Drivers                                             map[string]Driver
		LastDrain                                           *Drain
		Events                                              []nodeEvent
	}
	if err := get(ctx, client, "/v1/node/"+url.PathEscape(id), &answer); err != nil {
		return Node{}, err
	}
	if answer.LastDrain == nil {
		answer.LastDrain = &Drain{}
	}
	answer.LastDrain.Overruled = overruled(*answer.LastDrain, answer.Events)
	return Node{
		ID: answer.ID, Name: answer.Name, Status: answer.Status, Eligibility: answer.SchedulingEligibility,
		Draining: answer.Drain || answer.DrainStrategy != nil, Version: answer.Attributes["nomad.version"],
		Datacenter: answer.Datacenter, Drivers: answer.Drivers, LastDrain: *answer.LastDrain,
	}, nil
}

// NodeSummary is one line of the list of clients.
type NodeSummary struct {
	ID                    string
	Name                  string
	Address               string // of its HTTP API, without the port
	Status                string
	SchedulingEligibility string
	Version               string
	Drain                 bool
	LastDrain             *Drain
}

// AskNodes lists the clients that the servers know.
func AskNodes(ctx context.Context, client *api.Client) ([]NodeSummary, error) {
	var nodes []NodeSummary
	err := get(ctx, client, "/v1/nodes", &nodes)
	return nodes, err
}

// Alloc is one allocation of a client.
type Alloc struct {
	ID            string
	Name          string // JOB.GROUP[INDEX]
	Namespace     string
	JobID         string
	TaskGroup     string
	ClientStatus  string // pending, running, complete, failed, lost, unknown
	DesiredStatus string // run, stop, evict
	TaskStates    map[string]struct{ State string }
	Job           *struct{ Type string } // service, batch, system, sysbatch
}

// Terminal tells whether the client has ended it.
func (a *Alloc) Terminal() bool {
	return a.ClientStatus == "complete" || a.ClientStatus == "failed" || a.ClientStatus == "lost"
}

// System tells whether its job runs on every client, as those do that a drain may leave alone.
func (a *Alloc) System() bool {
	return a.Job != nil && (a.Job.Type == "system" || a.Job.Type == "sysbatch")
}

// Short names it for a person: by its name, which says job, group and index, or else by its id.
func (a *Alloc) Short() string {
	if a.Name == "" {
		return fmt.Sprintf("%.8s", a.ID)
	}
	return a.Name
}

// AskAllocs lists the allocations of a client.
func AskAllocs(ctx context.Context, client *api.Client, node string) ([]Alloc, error) {
	var allocs []Alloc
	err := get(ctx, client, "/v1/node/"+url.PathEscape(node)+"/allocations", &allocs)
	return allocs, err
}
