// SPDX-License-Identifier: MPL-2.0

package nomad

import "math"

// budget counts the clients that are skipped because they cannot be reached against the share that may fail. What is left
// is for the play over the others.
func (p *planner) budget() {
	percentage := p.options.MaxFailPercentage
	if percentage == nil {
		return
	}
	batched := 0
	for _, step := range p.plan.Steps {
		if step.batched() && step.Action != ActionRefused && !p.isSkipped(step.Host) {
			batched++
		}
	}
	skipped := len(p.skipped())
	total := batched + skipped
	allowed := int(math.Floor(*percentage * float64(total) / 100))
	if skipped > allowed {
		p.plan.refuse("", "raise --max-fail-percentage, or repair the connections", "%d of %d clients would be skipped, and --max-fail-percentage %g allows %d to be lost",
			skipped, total, *percentage, allowed)
		return
	}
	left := 0.0
	if batched > 0 {
		// Half a host above what is allowed, so that rounding decides nothing.
		left = math.Min(100, (float64(allowed-skipped)+0.5)*100/float64(batched))
	}
	p.plan.MaxFailPercentage = &left
}

func (p *planner) isSkipped(host string) bool {
	for _, name := range p.skipped() {
		if name == host {
			return true
		}
	}
	return false
}
