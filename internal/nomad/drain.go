// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/nomad/api"
)

// Keys of a drain's Meta by which drover knows its own, also when the run that began it has died. Nomad keeps Meta in
// LastDrain since 1.1.
const (
	DrainRun      = "drover_run"      // the run's id
	DrainPrior    = "drover_prior"    // the eligibility before: eligible or ineligible
	DrainRestored = "drover_restored" // set when drover cancelled the drain itself
)

// Eligibilities of a client.
const (
	Eligible   = "eligible"
	Ineligible = "ineligible"
)

// States of a drain.
const (
	DrainDraining = "draining"
	DrainComplete = "complete"
	DrainCanceled = "canceled"
)

// Drain is what the servers keep of a client's last drain. The zero value is that of a client that was never drained.
type Drain struct {
	StartedAt time.Time
	UpdatedAt time.Time
	Status    string // draining, complete, canceled
	Meta      map[string]string
	// Overruled says that somebody has set the client's eligibility by hand since the drain ended.
	Overruled bool `json:"-"`
}

// Ours tells whether drover began the drain.
func (d *Drain) Ours() bool { return d.Meta[DrainRun] != "" }

// Who says who began the drain, as far as is known.
func (d *Drain) Who() string {
	if d.Ours() {
		return "drover's run " + d.Meta[DrainRun]
	}
	var words []string
	for _, key := range slices.Sorted(maps.Keys(d.Meta)) {
		words = append(words, key+": "+d.Meta[key])
	}
	who := "somebody else"
	if len(words) > 0 {
		who += " (" + strings.Join(words, ", ") + ")"
	}
	if !d.StartedAt.IsZero() {
		who += " at " + d.StartedAt.UTC().Format(time.RFC3339)
	}
	return who
}

// drainedBy says who began the drain that goes on on a client, and whether that was drover; "" when none goes on.
func (n *NodeSummary) drainedBy() (who string, ours bool) {
	if !n.Drain {
		return "", false
	}
	last := n.LastDrain
	if last == nil {
		last = &Drain{}
	}
	return last.Who(), last.Ours()
}

// Pending tells whether a client is as a drain of drover's has left it, so that its former eligibility is still to be restored.
// What somebody has decided since counts more.
func (n *Node) Pending() bool {
	d := &n.LastDrain
	if !d.Ours() {
		return false
	}
	return n.Draining || d.Status == DrainComplete && n.Eligibility == Ineligible && !d.Overruled
}

// nodeEvent is one of the last events of a client.
type nodeEvent struct {
	Message   string
	Timestamp time.Time
}

// overruled looks for a change of eligibility by hand after a drain. The times that the servers give a drain have whole seconds.
func overruled(d Drain, events []nodeEvent) bool {
	return slices.ContainsFunc(events, func(e nodeEvent) bool {
		return strings.HasPrefix(e.Message, "Node marked as ") && strings.Contains(e.Message, "eligible for scheduling") &&
			!e.Timestamp.Before(d.UpdatedAt.Truncate(time.Second)) && !d.UpdatedAt.IsZero()
	})
}

// DrainOptions say how a client is drained.
type DrainOptions struct {
	Deadline         time.Duration // after which Nomad stops what is left; 0: never, below 0: at once
	IgnoreSystemJobs bool
	Meta             map[string]string
}

// StartDrain makes a client ineligible and moves its allocations away.
func StartDrain(ctx context.Context, client *api.Client, node string, options DrainOptions) error {
	spec := &api.DrainSpec{Deadline: options.Deadline, IgnoreSystemJobs: options.IgnoreSystemJobs}
	return updateDrain(ctx, client, node, &api.DrainOptions{DrainSpec: spec, Meta: options.Meta})
}

// EndDrain ends a drain where one goes on, and makes the client eligible where that is asked for. meta replaces that of a drain that goes on.
func EndDrain(ctx context.Context, client *api.Client, node string, eligible bool, meta map[string]string) error {
	return updateDrain(ctx, client, node, &api.DrainOptions{MarkEligible: eligible, Meta: meta})
}

func updateDrain(ctx context.Context, client *api.Client, node string, options *api.DrainOptions) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	if _, err := client.Nodes().UpdateDrainOpts(node, options, (&api.WriteOptions{}).WithContext(ctx)); err != nil {
		return fmt.Errorf("change the drain of node %.8s: %w", node, plain(err))
	}
	return nil
}

// AskPlacement says why a job's allocation finds no other place, as the job's latest blocked evaluation has it; "" when none is blocked.
func AskPlacement(ctx context.Context, client *api.Client, alloc Alloc) (string, error) {
	var evals []struct {
		Status         string
		ModifyIndex    uint64
		FailedTGAllocs map[string]placementFailure
	}
	path := "/v1/job/" + url.PathEscape(alloc.JobID) + "/evaluations?namespace=" + url.QueryEscape(alloc.Namespace)
	if err := get(ctx, client, path, &evals); err != nil {
		return "", err
	}
	latest, why := uint64(0), ""
	for _, eval := range evals {
		failed, ok := eval.FailedTGAllocs[alloc.TaskGroup]
		if ok && eval.Status == "blocked" && eval.ModifyIndex >= latest {
			latest, why = eval.ModifyIndex, failed.words()
		}
	}
	return why, nil
}

// placementFailure is what the scheduler found when it looked for a place.
type placementFailure struct {
	NodesEvaluated     int
	NodesFiltered      int
	NodesExhausted     int
	ConstraintFiltered map[string]int
	DimensionExhausted map[string]int
}

func (f *placementFailure) words() string {
	if f.NodesEvaluated == 0 {
		return "no other client is eligible for it"
	}
	words := []string{fmt.Sprintf("%d other clients were looked at", f.NodesEvaluated)}
	for _, found := range []struct {
		all  int
		what string
		by   map[string]int
	}{
		{f.NodesFiltered, "do not fulfil a condition", f.ConstraintFiltered},
		{f.NodesExhausted, "have no room", f.DimensionExhausted},
	} {
		if found.all == 0 {
			continue
		}
		text := fmt.Sprintf("%d %s", found.all, found.what)
		if len(found.by) > 0 {
			text += " (" + strings.Join(slices.Sorted(maps.Keys(found.by)), ", ") + ")"
		}
		words = append(words, text)
	}
	return strings.Join(words, ", ")
}
