// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/hashicorp/nomad/api"
)

// Why an agent that answers says nothing of itself, as HostFacts.Denied has it: no token was given, or it lacks agent:read; or the
// token is not known.
const (
	DeniedPermission = "permission"
	DeniedToken      = "token"
)

// Denial tells why an agent refused a question; "" when an error is about something else than the token.
func Denial(err error) string {
	_, body := statusCode(err)
	switch {
	case err == nil || !IsForbidden(err):
		return ""
	case strings.Contains(body, "ACL token not found"):
		return DeniedToken
	}
	return DeniedPermission
}

// AskLeader asks a server for the RPC address of the leader, for which it wants no token; "" when it knows none, which Nomad says after 5 s.
func AskLeader(ctx context.Context, client *api.Client) (string, error) {
	leader := ""
	err := get(ctx, client, "/v1/status/leader", &leader)
	if code, body := statusCode(err); code == http.StatusInternalServerError && strings.Contains(body, "No cluster leader") {
		return "", nil
	}
	return leader, err
}

// tokenRemedy says how a token is given, and which.
const tokenRemedy = "give a token with agent:read, node:read, operator:read and read-job: NOMAD_TOKEN in the environment, or nomad_token_file in the inventory"

// denied are the servers of the region that answer and refuse the token.
func (c *clusterView) denied() []*HostFacts {
	return slices.DeleteFunc(c.servers(), func(f *HostFacts) bool { return f.Denied == "" })
}

// token says once which agents refuse the token, and what they tell without one. An agent without a leader may know no token at all,
// because raft's log, and with it every token, is applied only when there is one: then that is what is wrong.
func (c *clusterView) token() {
	leaderless := c.leader == nil && c.unled()
	var lacks, unknown []string
	for _, f := range c.hosts {
		switch f.Denied {
		case DeniedPermission:
			lacks = append(lacks, f.Host)
		case DeniedToken:
			if !leaderless {
				unknown = append(unknown, f.Host)
			}
		}
	}
	const rest = "what they know of raft, quorum, clients and jobs could not be asked"
	if len(lacks) > 0 {
		c.bad(findToken, "", tokenRemedy, "ACLs are on, and no token was given or it lacks agent:read, by the answer of %s (403 Permission denied); %s", someHosts(lacks), rest)
	}
	if len(unknown) > 0 {
		c.bad(findToken, "", tokenRemedy, "ACLs are on, and the token that was given is not known to %s (ACL token not found); %s", someHosts(unknown), rest)
	}
	if leaderless {
		c.bad(findNoLeader, "", "an election takes a few seconds: look again; if it stays so: drover raft-v3 where raft-v3 was under way, and drover recover where servers are lost for good",
			"no server leads, by the word of %s: the control plane is down; without a leader servers may know no token and tell no more", someHosts(sortedKeys(c.Leaders)))
		return
	}
	said := map[string][]string{}
	for _, host := range sortedKeys(c.Leaders) {
		said[c.Leaders[host]] = append(said[c.Leaders[host]], host)
	}
	for _, address := range sortedKeys(said) {
		if address == "" {
			c.bad(findLeader, "", "see whether they reach the RPC ports of the other servers", "no leader is known to %s, and others know one", someHosts(said[address]))
			continue
		}
		c.note(findToken, "", "", "%s leads, as %s without a token", address, tells(said[address]))
	}
}

func tells(hosts []string) string {
	if len(hosts) == 1 {
		return hosts[0] + " tells"
	}
	return someHosts(hosts) + " tell"
}

// unled tells whether servers that refuse the token were asked who leads, and none knows anybody.
func (c *clusterView) unled() bool {
	for _, leader := range c.Leaders {
		if leader != "" {
			return false
		}
	}
	for _, f := range c.servers() {
		if view := c.view(f.Host); view != nil && view.Raft.LeaderAddr != "" {
			return false
		}
	}
	return len(c.Leaders) > 0
}
