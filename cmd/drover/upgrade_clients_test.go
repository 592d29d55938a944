// SPDX-License-Identifier: MPL-2.0

package main

import (
	"testing"

	"drover/internal/nomad"
)

// TestDrainsInThePlan holds whose drains are refused, and when a finished cluster is looked at for what a dead run has drained.
func TestDrainsInThePlan(t *testing.T) {
	alice := nomad.Step{Host: "c1", Action: nomad.ActionUpgrade, Draining: true, DrainedBy: "somebody else (who: alice)", Eligibility: nomad.Ineligible}
	ours, done, quiet := alice, alice, alice
	ours.OwnDrain = true
	done.Action = nomad.ActionNone
	quiet.Draining, quiet.Eligibility, quiet.Action = false, nomad.Eligible, nomad.ActionNone
	left := done
	left.LeftOut = true
	tests := map[string]struct {
		step             nomad.Step
		drain            bool
		refused, restore bool
	}{
		"another's drain":                   {alice, true, true, true},
		"another's drain, upgrade in place": {alice, false, false, false},
		"our own":                           {ours, true, false, true},
		"upgraded already":                  {done, true, false, true},
		"upgraded, and left out":            {left, true, false, false},
		"eligible":                          {quiet, true, false, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			u := &upgradeClientsFlags{drain: test.drain}
			plan := &nomad.Plan{Steps: []nomad.Step{test.step}}
			if got := len(u.strangers(plan)) > 0; got != test.refused {
				t.Errorf("refused: %t, want %t", got, test.refused)
			}
			if got := u.mayRestore(plan); got != test.restore {
				t.Errorf("may restore: %t, want %t", got, test.restore)
			}
		})
	}
}

func TestSettingOf(t *testing.T) {
	for text, want := range map[string]any{"null": nil, "true": true, "false": false, "42": int64(42), "big": "big", "": "", "1.5": "1.5"} {
		if got := settingOf(text); got != want {
			t.Errorf("%q is %v (%T), want %v (%T)", text, got, got, want, want)
		}
	}
}
