// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/hashicorp/nomad/api"
)

// nobody is an id that no server has, for asking whether a transfer of leadership would be allowed.
const nobody = "00000000-0000-0000-0000-000000000000"

// Capabilities tries everything that an upgrade will need of the token, without changing anything: a refusal in the
// middle of an upgrade would be worse. leader is what the leader says of itself.
func Capabilities(ctx context.Context, client *api.Client, leader AgentView) []Problem {
	if !leader.ACL {
		return nil
	}
	if managementToken(ctx, client) {
		return nil
	}
	var problems []Problem
	try := func(what, policy string, err error) {
		if err != nil && IsForbidden(err) {
			problems = append(problems, Problem{
				Text:   fmt.Sprintf("the Nomad token may not %s", what),
				Remedy: "use a management token (nomad_token, NOMAD_TOKEN), or one with " + policy,
			})
		}
	}
	_, err := AskRaft(ctx, client, false)
	try("read the raft configuration", "management rights", err)
	_, err = AskAutopilot(ctx, client)
	try("read autopilot's health report", "operator:read", err)
	_, err = AskMembers(ctx, client, "")
	try("list the servers", "node:read", err)
	_, err = AskNodes(ctx, client)
	try("read nodes and their allocations", "node:read and read-job in every namespace", err)
	try("take a snapshot", "management rights", trySnapshot(ctx, client))
	if canTransferLeadership(leader.Version, leader.Raft.Protocol) == "" {
		try("move leadership", "management rights", tryTransfer(ctx, client))
	}
	return problems
}

// managementToken tells whether the token may do everything, now and for the next hour.
func managementToken(ctx context.Context, client *api.Client) bool {
	var token struct {
		Type           string
		ExpirationTime *time.Time
	}
	if err := get(ctx, client, "/v1/acl/token/self", &token); err != nil {
		return false
	}
	return token.Type == "management" && (token.ExpirationTime == nil || time.Until(*token.ExpirationTime) > time.Hour)
}

// trySnapshot begins a snapshot and breaks it off after the answer's header.
func trySnapshot(ctx context.Context, client *api.Client) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	content, err := client.Raw().Response(snapshotPath, (&api.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return err
	}
	return content.Close()
}

// tryTransfer asks for a transfer to a server that does not exist: it is refused with 400 when it would be allowed.
func tryTransfer(ctx context.Context, client *api.Client) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	err := client.Operator().RaftTransferLeadershipByID(nobody, (&api.WriteOptions{}).WithContext(ctx))
	if code, _ := statusCode(err); code == http.StatusBadRequest {
		return nil
	}
	return err
}
