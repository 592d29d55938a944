// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"drover/internal/nomad"
	"drover/internal/wire"
)

// survey collects what is known of all hosts of the inventory and of their cluster.
func (c *cluster) survey(ctx context.Context) nomad.Survey {
	survey := c.lookAtAll(ctx)
	c.askCluster(ctx, &survey)
	return survey
}

// lookAtAll collects what is known of all hosts of the inventory and looks at those that nobody has looked at.
func (c *cluster) lookAtAll(ctx context.Context) nomad.Survey {
	elsewhere := c.call.Args.Strings("elsewhere")
	names := slices.DeleteFunc(c.call.Fleet.Names("all"), func(name string) bool { return slices.Contains(elsewhere, name) })
	var unknown []string
	for _, name := range names {
		if _, known := c.ownFacts(name); !known {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		c.call.Say("looking at %s", someOf(unknown))
	}
	unreachable := c.lookAt(ctx, unknown)
	for _, name := range unknown {
		if facts, seen := c.ownFacts(name); seen {
			c.call.Run.Sightings.note(name, facts)
		}
	}
	return c.surveyOf(names, unreachable)
}

// lookAfresh looks at all hosts, whatever is known of them.
func (c *cluster) lookAfresh(ctx context.Context) nomad.Survey {
	names := c.call.Fleet.Names("all")
	return c.surveyOf(names, c.lookAt(ctx, names))
}

// lookAt looks at hosts and remembers what it saw; it returns those that could not be looked at.
func (c *cluster) lookAt(ctx context.Context, names []string) map[string]nomad.LookFailure {
	failures := map[string]nomad.LookFailure{}
	c.each(names, func(name string) {
		facts, err := c.look(ctx, name)
		c.mu.Lock()
		defer c.mu.Unlock()
		if err != nil {
			failures[name] = lookFailure(err)
			return
		}
		c.looked[name] = facts
	})
	return failures
}

// surveyOf puts together what is known of hosts, all of which have been looked at.
func (c *cluster) surveyOf(names []string, unreachable map[string]nomad.LookFailure) nomad.Survey {
	survey := nomad.Survey{Unreachable: unreachable, Addresses: map[string]string{}}
	for _, name := range names {
		if _, lost := unreachable[name]; !lost {
			facts, _ := c.ownFacts(name)
			survey.Hosts = append(survey.Hosts, facts)
		} else if address := c.variable(name, "ansible_host"); address != "" {
			survey.Addresses[name] = address
		}
	}
	return survey
}

// surveyAtOnce bounds how many hosts are looked at together.
const surveyAtOnce = 32

// each does something for hosts, some at the same time.
func (c *cluster) each(names []string, do func(name string)) {
	slots := make(chan struct{}, surveyAtOnce)
	var group sync.WaitGroup
	for _, name := range names {
		group.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			do(name)
		})
	}
	group.Wait()
}

// someOf names a few hosts, and how many more there are.
func someOf(names []string) string {
	const shown = 5
	if len(names) <= shown {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:shown], ", "), len(names)-shown)
}

// lookFailure says what kind of failure a look at a host met, without the host's name, for a place that names the host.
func lookFailure(err error) nomad.LookFailure {
	failure := nomad.LookFailure{Kind: ObstacleOther, Text: err.Error()}
	var lost *Unreachable
	if errors.As(err, &lost) {
		failure.Kind, failure.Text = ObstacleUnreachable, lost.Err.Error()
	}
	var refused *wire.Error
	if errors.As(err, &refused) {
		failure.Remedy = refused.Hint
		if refused.Kind == wire.KindLocked {
			failure.Kind, failure.Remedy = ObstacleLocked, "wait until that run has ended"
		}
		if refused.Hint != "" {
			failure.Text = strings.TrimSuffix(failure.Text, " ("+refused.Hint+")")
		}
	}
	if o := obstacleOf(err); o != nil {
		failure.Kind, failure.Remedy = o.Kind, o.Remedy
		failure.Text = strings.TrimSuffix(failure.Text, ": "+o.Remedy)
	}
	return failure
}
