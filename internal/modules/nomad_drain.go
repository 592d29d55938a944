// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/nomad/api"

	"drover/internal/expression"
	"drover/internal/nomad"
	"drover/internal/wait"
)

func nomadDrainModule() Module {
	return Module{
		Name:  "nomad_drain",
		Short: "Drain a client, or restore the eligibility that it had before",
		Doc: "state: drained remembers whether the client was eligible, moves its allocations to other clients, and waits until none is left, with the number that is left said while it waits. The former " +
			"eligibility is kept in a fact, in the run's record and in the drain itself, so that a drain of a run that died is taken up by the next one. A client that somebody else is draining is refused.\n\n" +
			"A drain that does not finish in time is cancelled: the client gets its former eligibility back, and the task fails with the allocations that hold it and why. Without deadline nothing is ever stopped by force. " +
			"Allocations of batch jobs end by themselves before the drain is done.\n\n" +
			"state: restored ends drover's own drain and gives the client the eligibility that it had before the drain. A drain that somebody else began, or an eligibility that somebody has set since, is never touched. " +
			"state: checked only refuses what drained would refuse. " + unitDoc,
		Args: []Arg{
			{Name: "state", Kind: String, Required: true, Choices: []string{"drained", "restored", "checked"}, Doc: "drained before, restored afterwards."},
			{Name: "version", Kind: String, Doc: "A client that runs this version, on disk too, needs no drain and is left as it is."},
			{Name: "deadline", Kind: Duration, Doc: "After it Nomad stops what is left, whether or not it runs elsewhere. Without it: never."},
			{Name: "timeout", Kind: Duration, Doc: "How long the allocations may take to move, then the drain is cancelled. Default: 15m, or with deadline 2m more than that."},
			{Name: "ignore_system_jobs", Kind: Boolean, Default: false, Doc: "Leave the allocations of system and sysbatch jobs alone."},
			{Name: "force", Kind: Boolean, Default: false, Doc: "Let Nomad stop all allocations at once instead of moving them one after another."},
		},
		Exclusive: [][]string{{"deadline", "force"}},
		Check:     CheckFull,
		Returns: []Arg{
			{Name: "prior", Kind: String, Doc: "The eligibility before the drain: eligible or ineligible."},
			{Name: "moved", Kind: Integer, Doc: "How many allocations have left."},
		},
		Example: `- nomad_drain:
    state: drained
    ignore_system_jobs: true
- nomad_swap:
    version: 1.11.0
- nomad_drain:
    state: restored`,
		Run: nomadDrain,
	}
}

const (
	defaultDrainTimeout = 15 * time.Minute
	// afterDeadline is how long Nomad may take for what is left after a drain's deadline.
	afterDeadline = 2 * time.Minute
	// drainPoll is how often allocations are asked for. The answer holds the whole jobs.
	drainPoll = 500 * time.Millisecond
	// restoreTimeout bounds how long the servers may take to end a drain.
	restoreTimeout = 30 * time.Second
)

// drainFact is what nomad_drain remembers of a client.
type drainFact struct {
	Node  string `json:"node"`  // the client's id
	Prior string `json:"prior"` // eligible or ineligible
	Run   string `json:"run"`   // that began the drain
}

// drain is one execution of nomad_drain.
type drain struct {
	*cluster
	facts nomad.HostFacts
	node  nomad.Node
	prior string
	total int // allocations at the beginning
	voice voice
}

func nomadDrain(ctx context.Context, call *Call) (*Result, error) {
	d := &drain{cluster: newCluster(call), voice: voice{call: call}}
	defer d.close()
	var err error
	if d.facts, err = d.mustFacts(call.Name); err != nil {
		return nil, err
	}
	switch {
	case !d.facts.Client:
		return &Result{Message: "no client runs here"}, nil
	case d.facts.NodeID == "":
		return &Result{Message: "the client has never registered, so there is nothing to drain"}, nil
	case !d.facts.Running:
		return &Result{Message: "the agent does not run, so that nothing on it can be moved"}, nil
	}
	if err := d.lookAtNode(ctx); err != nil {
		return nil, fmt.Errorf("%s: ask the servers about the client (nothing was changed): %w", call.Name, err)
	}
	switch call.Args.String("state") {
	case "restored":
		return d.restore(ctx)
	case "checked":
		return &Result{Message: "nobody else drains it, and it is " + d.node.Eligibility}, d.mayDrain()
	}
	return d.drain(ctx)
}

func (d *drain) lookAtNode(ctx context.Context) error {
	node, reason := d.cluster.node(ctx, d.facts.NodeID, d.call.Name)
	if reason != "" {
		return errors.New(reason)
	}
	d.node = node
	return nil
}

// mayDrain refuses a client that is in somebody else's hands.
func (d *drain) mayDrain() error {
	if d.node.Draining && !d.node.LastDrain.Ours() {
		return refuse("%s: %s is draining this client; it was left as it is; wait for the end of that drain, or end it (nomad node drain -disable %.8s), or leave the host out with --limit",
			d.call.Name, d.node.LastDrain.Who(), d.node.ID)
	}
	return nil
}

// drain moves the allocations away.
func (d *drain) drain(ctx context.Context) (*Result, error) {
	if version := d.call.Args.String("version"); version != "" {
		target, err := nomad.ParseVersion(version)
		if err != nil {
			return nil, err
		}
		if d.facts.Upgraded(target) {
			return &Result{Message: "already runs " + version + ", so it is not drained"}, nil
		}
	}
	if !d.node.Ready() {
		return &Result{Message: "the servers see the client as " + d.node.Status + ", so that nothing on it can be moved"}, nil
	}
	if err := d.mayDrain(); err != nil {
		return nil, err
	}
	d.prior = d.node.Eligibility
	taken := d.node.Pending()
	if taken {
		d.prior = cmp.Or(d.node.LastDrain.Meta[nomad.DrainPrior], nomad.Eligible)
	}
	left, err := d.left(ctx)
	if err != nil {
		return nil, err
	}
	d.total = len(left)
	if d.call.Check {
		return &Result{Changed: true, Message: fmt.Sprintf("would drain it of %d allocations; it is %s", d.total, d.prior)}, nil
	}
	switch {
	case taken && d.node.Draining:
		d.call.Say("the client is being drained by %s already, and was %s before; going on with that", d.node.LastDrain.Who(), d.prior)
	default:
		d.call.Say("the client was %s; draining it of %d allocations", d.prior, d.total)
		if err := d.begin(ctx); err != nil {
			return nil, err
		}
	}
	if err := d.await(ctx); err != nil {
		return nil, err
	}
	fact := drainFact{Node: d.node.ID, Prior: d.prior, Run: d.call.Run.ID}
	return &Result{
		Changed: true, Facts: factMap(factDrain, fact), Message: fmt.Sprintf("drained of %d allocations; it was %s", d.total, d.prior),
		Data: expression.MapOf("prior", d.prior, "moved", d.total),
	}, nil
}

func (d *drain) begin(ctx context.Context) error {
	client, err := d.observer(ctx, d.facts.Region, d.call.Name)
	if err != nil {
		return fmt.Errorf("%s: begin the drain: %w", d.call.Name, err)
	}
	options := nomad.DrainOptions{
		Deadline: d.call.Args.Duration("deadline"), IgnoreSystemJobs: d.call.Args.Bool("ignore_system_jobs"),
		Meta: map[string]string{nomad.DrainRun: d.call.Run.ID, nomad.DrainPrior: d.prior},
	}
	if d.call.Args.Bool("force") {
		options.Deadline = -1
	}
	if err := nomad.StartDrain(ctx, client, d.node.ID, options); err != nil {
		return fmt.Errorf("%s: begin the drain: %w", d.call.Name, err)
	}
	return nil
}

// left lists the allocations that the drain still has to move.
func (d *drain) left(ctx context.Context) ([]nomad.Alloc, error) {
	allocs, err := d.allocs(ctx, d.facts)
	if err != nil {
		return nil, err
	}
	var left []nomad.Alloc
	for _, alloc := range allocs {
		if !alloc.Terminal() && !(d.call.Args.Bool("ignore_system_jobs") && alloc.System()) {
			left = append(left, alloc)
		}
	}
	return left, nil
}

func (d *drain) timeout() time.Duration {
	switch {
	case d.call.Args.Has("timeout"):
		return d.call.Args.Duration("timeout")
	case d.call.Args.Has("deadline"):
		return d.call.Args.Duration("deadline") + afterDeadline
	}
	return defaultDrainTimeout
}

// await waits until the servers call the drain complete and no allocation is left.
func (d *drain) await(ctx context.Context) error {
	deadline := time.Now().Add(d.timeout())
	var left []nomad.Alloc
	var problem string
	for {
		err := d.lookAtNode(ctx)
		if err == nil {
			left, err = d.left(ctx)
		}
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("%s: %w while waiting for the drain, which goes on; run again to go on with it, or end it with nomad node drain -disable %.8s", d.call.Name, ctx.Err(), d.node.ID)
		case err != nil:
			problem = err.Error()
			d.voice.say("waiting for an answer about the drain: " + problem)
		case !d.node.Draining && (!d.node.LastDrain.Ours() || d.node.LastDrain.Status == nomad.DrainCanceled):
			return fmt.Errorf("%s: somebody has ended the drain that drover began; the client is %s now and was left so", d.call.Name, d.node.Eligibility)
		case !d.node.Draining && len(left) == 0:
			return nil
		default:
			problem = ""
			d.total = max(d.total, len(left))
			d.voice.say(fmt.Sprintf("%d of %d allocations left: %s", len(left), d.total, someOf(shortNames(left))))
		}
		if d.interrupted() {
			return d.giveUp(ctx, "interrupted while "+held(left), left, "")
		}
		if time.Now().After(deadline) {
			return d.giveUp(ctx, fmt.Sprintf("the drain is not done after %s: %s", d.timeout(), held(left)), left, problem)
		}
		_ = wait.For(ctx, drainPoll)
	}
}

func (d *drain) interrupted() bool {
	select {
	case <-d.call.Interrupted:
		return true
	default:
		return false
	}
}

func shortNames(allocs []nomad.Alloc) []string {
	names := make([]string, len(allocs))
	for i := range allocs {
		names[i] = allocs[i].Short()
	}
	return names
}

func held(left []nomad.Alloc) string {
	if len(left) == 1 {
		return "1 allocation was left"
	}
	return fmt.Sprintf("%d allocations were left", len(left))
}

// giveUp cancels the drain, and says what held it.
func (d *drain) giveUp(ctx context.Context, what string, left []nomad.Alloc, problem string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), restoreTimeout)
	defer cancel()
	text := d.call.Name + ": " + what
	if problem != "" {
		text += "; " + problem
	}
	for _, why := range d.holders(ctx, left) {
		text += "\n  " + why
	}
	if gone := d.total - len(left); gone > 0 {
		text += fmt.Sprintf("\n  %d of %d had left; Nomad stops what it moves before it has a place elsewhere, and starts those that found none again as soon as there is one", gone, d.total)
	}
	state := "the drain was cancelled, and the client is " + d.prior + " again"
	if err := d.end(ctx, d.prior); err != nil {
		state = fmt.Sprintf("cancelling the drain did not succeed: %s; end it with nomad node drain -disable %.8s, or run again", err, d.node.ID)
	}
	return fmt.Errorf("%s\n%s; make room for what is named, or give it more time, and run again", text, state)
}

// shownHolders is how many allocations are asked about when a drain does not finish.
const shownHolders = 10

// holders says of each allocation that is left what it waits for.
func (d *drain) holders(ctx context.Context, left []nomad.Alloc) []string {
	var texts []string
	client, err := d.observer(ctx, d.facts.Region, d.call.Name)
	for i, alloc := range left {
		if i == shownHolders {
			return append(texts, fmt.Sprintf("and %d more", len(left)-i))
		}
		texts = append(texts, fmt.Sprintf("%s (%.8s): %s", alloc.Short(), alloc.ID, d.holder(ctx, client, err, alloc)))
	}
	return texts
}

func (d *drain) holder(ctx context.Context, client *api.Client, unasked error, alloc nomad.Alloc) string {
	switch {
	case alloc.DesiredStatus == "stop":
		return "it is being stopped, and its tasks have not ended yet (kill_timeout)"
	case alloc.Job != nil && alloc.Job.Type == "batch":
		return "it is of a batch job, which a drain lets end by itself; a deadline would stop it"
	case unasked != nil:
		return "why is not known: " + unasked.Error()
	}
	why, err := nomad.AskPlacement(ctx, client, alloc)
	switch {
	case err != nil:
		return "why is not known: " + err.Error()
	case why != "":
		return "another client for it was not found: " + why
	}
	return "it has its turn when enough allocations of its group are healthy (max_parallel and min_healthy_time of migrate)"
}

// restore gives the client its former eligibility back.
func (d *drain) restore(ctx context.Context) (*Result, error) {
	last := &d.node.LastDrain
	switch {
	case d.node.Draining && !last.Ours():
		return &Result{Message: last.Who() + " is draining the client; that is left as it is"}, nil
	case !d.node.Pending():
		return &Result{Message: "no drain of drover's is open; the client is " + d.node.Eligibility}, nil
	}
	prior := cmp.Or(last.Meta[nomad.DrainPrior], nomad.Eligible)
	result := &Result{Changed: d.node.Draining || prior != d.node.Eligibility, Data: expression.MapOf("prior", prior)}
	result.Message = "the client is " + prior + ", as before its drain"
	if !result.Changed || d.call.Check {
		return result, nil
	}
	ctx, cancel := context.WithTimeout(ctx, restoreTimeout)
	defer cancel()
	if err := d.end(ctx, prior); err != nil {
		return nil, fmt.Errorf("%s: give the client its former eligibility (%s) back: %w; it is %s now; run again", d.call.Name, prior, err, d.node.Eligibility)
	}
	return result, nil
}

// end ends the drain with an eligibility, and waits until it is so.
func (d *drain) end(ctx context.Context, eligibility string) error {
	client, err := d.observer(ctx, d.facts.Region, d.call.Name)
	if err != nil {
		return err
	}
	meta := map[string]string{nomad.DrainRun: d.call.Run.ID, nomad.DrainPrior: eligibility, nomad.DrainRestored: "true"}
	if err := nomad.EndDrain(ctx, client, d.node.ID, eligibility == nomad.Eligible, meta); err != nil {
		return err
	}
	for {
		err := d.lookAtNode(ctx)
		if err == nil && !d.node.Draining && d.node.Eligibility == eligibility {
			return nil
		}
		if wait.For(ctx, pollEvery) != nil {
			return errors.Join(errors.New("the servers do not show it within "+restoreTimeout.String()), err)
		}
	}
}
