// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/nomad/api"

	"drover/internal/expression"
	"drover/internal/nomad"
	"drover/internal/wait"
)

func nomadTransferLeadershipModule() Module {
	return Module{
		Name:  "nomad_transfer_leadership",
		Short: "Move raft leadership to where it belongs before this server stops",
		Doc: "While old servers remain, leadership belongs to one of them: a leader of the new version may write entries that old servers cannot read. " +
			"When this host leads and is the last old server, leadership goes to an upgraded one, which spares the election. " +
			"Needs Nomad 1.7 and raft protocol 3; where that is missing it says so and changes nothing. " + unitDoc,
		Args: []Arg{
			versionArg(),
			{Name: "timeout", Kind: Duration, Default: "15s", Doc: "How long to wait until the servers agree on the new leader."},
		},
		Check: CheckFull,
		Returns: []Arg{
			{Name: "from", Kind: String, Doc: "The host that led."},
			{Name: "to", Kind: String, Doc: "The host that leads now."},
		},
		Example: `- nomad_transfer_leadership:
    version: 1.11.0`,
		Run: nomadTransferLeadership,
	}
}

func nomadTransferLeadership(ctx context.Context, call *Call) (*Result, error) {
	c, facts, target, err := toVersion(call)
	if err != nil {
		return nil, err
	}
	defer c.close()
	if !facts.Server || facts.Upgraded(target) {
		return &Result{Message: "this server is not about to stop"}, nil
	}
	states := nomad.States(c.askAll(ctx, c.servers(facts.Region)))
	move, needed := nomad.Leadership(states, target, call.Name)
	switch {
	case !needed:
		return &Result{Message: "leadership is where it belongs"}, nil
	case move.Impossible != "":
		return &Result{Message: fmt.Sprintf("%s, but leadership stays: %s; expect an election of 2 to 4 s", move.Why, move.Impossible)}, nil
	case call.Check:
		return &Result{Changed: true, Message: fmt.Sprintf("would move leadership from %s to %s: %s", move.From.Host, move.To.Host, move.Why)}, nil
	}
	call.Say("%s; moving leadership from %s to %s", move.Why, move.From.Host, move.To.Host)
	ctx, cancel := context.WithTimeout(ctx, call.Args.Duration("timeout"))
	defer cancel()
	if err := c.transfer(ctx, move); err != nil {
		return nil, err
	}
	result := &Result{
		Changed: true, Message: fmt.Sprintf("leadership moved from %s to %s: %s", move.From.Host, move.To.Host, move.Why),
		Data: expression.MapOf("from", move.From.Host, "to", move.To.Host),
	}
	facts.Leader = move.To.Host == call.Name
	result.Facts = factMap(factNomad, facts)
	return result, nil
}

// transferTimeout bounds a transfer that nobody gave a limit.
const transferTimeout = 15 * time.Second

// transfer hands leadership over and waits until the new leader says that it leads and the old one that it follows.
func (c *cluster) transfer(ctx context.Context, move nomad.Move) error {
	ctx, cancel := context.WithTimeout(ctx, transferTimeout)
	defer cancel()
	client, err := c.connect(ctx, move.From.Host)
	if err != nil {
		return fmt.Errorf("move leadership from %s to %s: %w", move.From.Host, move.To.Host, err)
	}
	if err := client.Operator().RaftTransferLeadershipByID(move.To.ID, (&api.WriteOptions{}).WithContext(ctx)); err != nil {
		return fmt.Errorf("move leadership from %s to %s: %w", move.From.Host, move.To.Host, err)
	}
	for {
		answers := c.askAll(ctx, []string{move.From.Host, move.To.Host})
		leader := leaderOf(answers)
		if leader != nil && leader.Host == move.To.Host && answers[0].Error == "" && answers[0].View.Raft.State == nomad.Follower {
			return nil
		}
		if err := wait.For(ctx, pollEvery); err != nil {
			return fmt.Errorf("move leadership from %s to %s: %w while waiting for both to agree", move.From.Host, move.To.Host, err)
		}
	}
}
