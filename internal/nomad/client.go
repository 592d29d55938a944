// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// DefaultHeartbeatGrace is the servers' heartbeat_grace when their configuration does not set it.
const DefaultHeartbeatGrace = 10 * time.Second

// Budget is how long a client may stay away from now on before the servers call it down: they wait for the TTL they
// gave it plus the grace, from its last heartbeat. An unknown last heartbeat leaves nothing.
func Budget(ttl, last, grace time.Duration) time.Duration {
	if last == Never || ttl == Never {
		return 0
	}
	return ttl - last + grace
}

const (
	// AssumedGap is taken for the pause of a client's heartbeats before any was measured: fingerprinting alone takes
	// about 2 s of a start.
	AssumedGap = 3 * time.Second
	// budgetFactor is how many times the largest gap seen must fit into the remaining budget.
	budgetFactor = 3
	// FreshHeartbeat is how recent a heartbeat must be to prepare a stop right after it. It is small beside the shortest
	// TTL of 10 s.
	FreshHeartbeat = 500 * time.Millisecond
	// StillFresh is how recent that heartbeat must still be when the preparation is done, which takes a moment.
	StillFresh = 2 * time.Second
)

// MayRestartClient tells whether this is a good moment to restart a client: the remaining budget holds three times the
// largest gap, or else the client has sent a heartbeat within `fresh`, after which the budget is as large as it can
// get. why says what is waited for.
func MayRestartClient(heartbeat Heartbeat, grace, largestGap, fresh time.Duration) (ok bool, why string) {
	budget := Budget(heartbeat.TTL, heartbeat.Last, grace)
	if budget >= budgetFactor*largestGap || heartbeat.Last <= fresh {
		return true, ""
	}
	wait := max(0, heartbeat.TTL-heartbeat.Last)
	return false, fmt.Sprintf("waiting for its next heartbeat, in about %s: the servers would call it down after %s, and a restart took up to %s",
		wait.Round(time.Second), budget.Round(100*time.Millisecond), largestGap.Round(100*time.Millisecond))
}

// ClientState is what is known of a client at one moment, from itself and from a server.
type ClientState struct {
	Own   Answer
	Node  Node
	Error string // why Node is not known
}

// ClientReady says what is missing until a client is well after its upgrade. before is the node as it was, nil when it
// was not recorded. started is when its new process was started, by the clock of Own.View.Asked. The status "ready"
// alone proves nothing: the servers go on showing it while the agent is stopped.
func ClientReady(host string, before *Node, now ClientState, target Version, started time.Time) []Problem {
	c := checker{host: host}
	if now.Own.Error != "" {
		c.add("its API does not answer: %s", now.Own.Error)
		return c.problems
	}
	view := &now.Own.View
	if target.Known() && !view.Version.Same(target) {
		c.add("it runs %s, not %s", view.Version, target)
	}
	if view.Heartbeat.Servers == "" {
		c.add("it knows no server")
	}
	switch last := view.Heartbeat.Last; {
	case last == Never || view.Asked.Add(-last).Before(started):
		c.add("it has not sent a heartbeat since it started")
	case last > view.Heartbeat.TTL+time.Second:
		c.add("its last heartbeat was %s ago", last.Round(time.Millisecond))
	}
	if now.Error != "" {
		c.add("the servers cannot be asked about it: %s", now.Error)
		return c.problems
	}
	c.node(before, now.Node, target)
	return c.problems
}

func (c *checker) node(before *Node, node Node, target Version) {
	if node.Status != "ready" {
		c.add("the servers see it as %s", node.Status)
	}
	if target.Known() && !buildIs(node.Version, target) {
		c.add("the servers still see version %s", node.Version)
	}
	if before == nil {
		return
	}
	if node.ID != before.ID {
		c.add("its node id was %s and is %s now", before.ID, node.ID)
	}
	if node.Eligibility != before.Eligibility {
		c.add("it was %s and is %s now", before.Eligibility, node.Eligibility)
	}
	for _, name := range sortedKeys(before.Drivers) {
		was, is := before.Drivers[name], node.Drivers[name]
		if was.Detected && !is.Detected {
			c.add("driver %s was there and is not detected now", name)
		} else if was.Healthy && !is.Healthy {
			c.add("driver %s was healthy and is not now", name)
		}
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
