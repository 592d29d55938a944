// SPDX-License-Identifier: MPL-2.0

package nomad

import "strings"

// Title says which leg this is, as a person reads it: "to 1.10.5, region east".
func (l *Leg) Title() string {
	title := "to " + l.Target.String()
	if l.Region != "" {
		title += ", region " + l.Region
	}
	return title
}

// legs has a page for each leg that could be planned, and a word about the others.
func (w *page) legs() {
	w.line(0, "Upgrade to Nomad %s, in %d legs", w.plan.Target, len(w.plan.Legs))
	for i := range w.plan.Legs {
		leg := &w.plan.Legs[i]
		w.title("Leg %d of %d: %s", i+1, len(w.plan.Legs), leg.Title())
		if leg.Why != "" {
			w.line(2, "%s", leg.Why)
		}
		if leg.Plan == nil {
			w.line(2, "planned from a survey of its own, and shown, when the legs before it are done")
			continue
		}
		inner := &page{plan: leg.Plan, margin: 2}
		inner.whole()
		if leg.Plan.Verdict() == VerdictClean {
			inner.line(0, "There is nothing to do in it.")
		}
		for line := range strings.Lines(inner.text.String()) {
			if line != "\n" {
				line = "  " + line
			}
			w.text.WriteString(line)
		}
	}
	if further := w.plan.beside(); len(further) > 0 {
		w.title("Worth knowing of all legs")
		for _, problem := range further {
			w.item("-", "%s", problem.Text)
		}
	}
}

// beside are the warnings that no leg has.
func (p *Plan) beside() []Problem {
	inLegs := map[string]bool{}
	for _, leg := range p.Legs {
		if leg.Plan == nil {
			continue
		}
		for _, warning := range leg.Plan.Warnings {
			inLegs[warning.Text] = true
			inLegs["region "+leg.Region+": "+warning.Text] = true
		}
	}
	var further []Problem
	for _, warning := range p.Warnings {
		if !inLegs[warning.Text] {
			further = append(further, warning)
		}
	}
	return further
}
