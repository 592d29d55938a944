// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"sync"

	"drover/internal/nomad"
)

// Sightings are what tasks of one run found out about hosts that are not among its own, as those that --limit leaves out:
// their servers have votes, and must be asked before one of the run's stops.
type Sightings struct {
	mu    sync.Mutex
	facts map[string]nomad.HostFacts
}

// NewSightings makes the sightings of one run.
func NewSightings() *Sightings { return &Sightings{facts: map[string]nomad.HostFacts{}} }

// note and of do nothing on nil Sightings, for callers that run one task.
func (s *Sightings) note(host string, facts nomad.HostFacts) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.facts[host] = facts
}

func (s *Sightings) of(host string) (nomad.HostFacts, bool) {
	if s == nil {
		return nomad.HostFacts{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	facts, ok := s.facts[host]
	return facts, ok
}
