// SPDX-License-Identifier: MPL-2.0

package nomad

import "fmt"

// Verdicts of a plan of any kind.
const (
	VerdictClean   = "clean"   // there is nothing to do
	VerdictChanges = "changes" // there is, and nothing stands in the way
	VerdictRefused = "refused" // something stands in the way; nothing will be touched
)

// Findings are what every kind of plan says besides what it will do.
type Findings struct {
	Warnings []Problem `json:"warnings"` // worth knowing, and no reason against going on
	Problems []Problem `json:"problems"` // what stands in the way: with one of these the plan is refused
}

// noFindings are empty lists, which are written as such to JSON.
func noFindings() Findings { return Findings{Warnings: []Problem{}, Problems: []Problem{}} }

func (f *Findings) refuse(host, remedy, format string, args ...any) {
	f.Problems = append(f.Problems, Problem{Host: host, Text: fmt.Sprintf(format, args...), Remedy: remedy})
}

func (f *Findings) warn(host, format string, args ...any) {
	f.Warnings = append(f.Warnings, Problem{Host: host, Text: fmt.Sprintf(format, args...)})
}

// refuseStep refuses what is to be done on a host.
func (f *Findings) refuseStep(step *Step, remedy, format string, args ...any) {
	step.Action = ActionRefused
	f.refuse(step.Host, remedy, format, args...)
}

// verdict sums up a plan that will change something, or will not.
func (f *Findings) verdict(changes bool) string {
	switch {
	case len(f.Problems) > 0:
		return VerdictRefused
	case changes:
		return VerdictChanges
	}
	return VerdictClean
}
