// SPDX-License-Identifier: MPL-2.0

package main

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"drover/internal/nomad"
)

// verdict is a plan that comes to no more than this.
type verdict string

func (v verdict) Page() string    { return "page: " + string(v) }
func (v verdict) Verdict() string { return string(v) }
func (v verdict) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]string{"found": "<" + string(v) + ">"})
}

// TestAgreement holds for every verdict what is shown, whether somebody is asked, and what follows.
func TestAgreement(t *testing.T) {
	const clean, changes, refused = nomad.VerdictClean, nomad.VerdictChanges, nomad.VerdictRefused
	yes, check, always := consent{yes: true}, consent{check: true}, consent{always: true}
	checkAlways := consent{check: true, always: true}
	tests := map[string]struct {
		consent consent
		plan    verdict
		answer  string
		against bool
		code    int
		goesOn  bool
		asked   bool
		shown   bool // as JSON; a page always is
	}{
		"clean":                             {consent{}, clean, "", false, exitOK, false, false, true},
		"changes, agreed to":                {consent{}, changes, "yes\n", false, exitOK, true, true, false},
		"changes, not agreed to":            {consent{}, changes, "no\n", false, exitError, false, true, false},
		"changes, with --yes":               {yes, changes, "", false, exitOK, true, false, false},
		"refused, with --yes":               {yes, refused, "", false, exitRefused, false, false, true},
		"something against it, with --yes":  {yes, changes, "", true, exitRefused, false, false, false},
		"clean, with --check":               {check, clean, "", false, exitOK, false, false, true},
		"changes, with --check":             {check, changes, "", false, exitChanges, false, false, true},
		"refused, with --check":             {check, refused, "", false, exitRefused, false, false, true},
		"clean, and the playbook sees more": {always, clean, "yes\n", false, exitOK, true, true, false},
		"the same with --check":             {checkAlways, clean, "", false, exitOK, false, false, true},
		"refused, and it sees more":         {always, refused, "", false, exitRefused, false, false, true},
	}
	for name, test := range tests {
		for _, output := range []string{"text", "json"} {
			t.Run(name+", "+output, func(t *testing.T) {
				var out, talk strings.Builder
				s := streams{in: strings.NewReader(test.answer), out: &out, err: &talk}
				var against []nomad.Problem
				if test.against {
					against = []nomad.Problem{{Host: "c1", Text: "somebody is draining it"}}
				}
				goesOn, err := test.consent.agreed(s, output, test.plan, against...)
				code := exitOK
				var how *exit
				if errors.As(err, &how) {
					code = how.code
				}
				if goesOn = goesOn && err == nil; code != test.code || goesOn != test.goesOn {
					t.Errorf("exit code %d, goes on: %t, want %d, %t", code, goesOn, test.code, test.goesOn)
				}
				if asked := strings.Contains(talk.String(), "Go on?"); asked != test.asked {
					t.Errorf("asked: %t, want %t", asked, test.asked)
				}
				if told := strings.Contains(talk.String(), "c1: somebody is draining it"); told != test.against {
					t.Errorf("told what is against it: %t, want %t", told, test.against)
				}
				want := "page: " + string(test.plan)
				if output == "json" {
					want = map[bool]string{true: `{"found":"\u003c` + string(test.plan) + `\u003e","verdict":"` + string(test.plan) + "\"}\n"}[test.shown]
				}
				if diff := cmp.Diff(want, out.String()); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}
