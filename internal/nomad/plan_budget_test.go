// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"strings"
	"testing"
)

func TestSkippedClientsCountAgainstTheFailuresAllowed(t *testing.T) {
	for name, test := range map[string]struct {
		percentage float64
		skipped    int
		refused    bool
		allowed    int // of the clients left
	}{
		"none skipped, one of ten may fail":        {percentage: 10, allowed: 1},
		"one skipped, none may fail":               {percentage: 10, skipped: 1, allowed: 0},
		"two skipped are more than one":            {percentage: 10, skipped: 2, refused: true},
		"two skipped of three, one more may fail":  {percentage: 30, skipped: 2, allowed: 1},
		"nothing may be lost and something is not": {percentage: 0, skipped: 1, refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			p := planner{options: Options{MaxFailPercentage: &test.percentage}}
			for i := range 10 {
				host := string(rune('a' + i))
				p.plan.Steps = append(p.plan.Steps, Step{Host: host, Role: "client", Action: ActionUpgrade})
				if i < test.skipped {
					p.plan.Steps[i].Action = ActionNone
					p.leave(host, LookUnreachable, "cannot be reached")
				}
			}
			p.budget()
			if refused := len(p.plan.Problems) > 0; refused != test.refused {
				t.Fatalf("problems: %v", p.plan.Problems)
			}
			if test.refused {
				if text := p.plan.Problems[0].Text; !strings.Contains(text, "of 10 clients would be skipped") {
					t.Error(text)
				}
				return
			}
			hosts := float64(10 - test.skipped)
			if lost := float64(test.allowed); lost*100 > *p.plan.MaxFailPercentage*hosts || (lost+1)*100 <= *p.plan.MaxFailPercentage*hosts {
				t.Errorf("%g %% of %g hosts do not allow just %d", *p.plan.MaxFailPercentage, hosts, test.allowed)
			}
		})
	}
}
