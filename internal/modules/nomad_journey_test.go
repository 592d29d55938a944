// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"drover/internal/expression"
	"drover/internal/nomad"
	"drover/internal/testrelease"
)

func TestPreflightPlansStops(t *testing.T) {
	for name, test := range map[string]struct {
		have []string
		args map[string]any
		want []string // the legs' versions, where it is not refused
		text string   // of the refusal
	}{
		"the stops are at hand":                 {have: []string{"1.8.4", "1.8.3", "1.10.5", "2.0.5"}, args: map[string]any{"in_legs": true}, want: []string{"1.8.4", "1.10.5", "2.0.5"}},
		"one is missing":                        {have: []string{"1.8.4", "2.0.5"}, args: map[string]any{"in_legs": true}, text: "the way to 2.0.5 leads over 1.10, and"},
		"the target is missing":                 {have: []string{"1.8.4", "1.10.5"}, args: map[string]any{"in_legs": true}, text: "there is no usable Nomad 2.0.5 for x86_64"},
		"the user's stops":                      {have: []string{"1.8.4", "1.10.5", "2.0.5"}, args: map[string]any{"in_legs": true, "via": []any{"1.10.5"}, "allow_unsupported_skip": true}, want: []string{"1.10.5", "2.0.5"}},
		"the user's step is too long":           {have: []string{"1.8.4", "1.10.5", "2.0.5"}, args: map[string]any{"in_legs": true, "via": []any{"1.10.5"}}, text: "1.6.10 to 1.10.5 spans 4 minor versions"},
		"only servers":                          {have: []string{"1.8.4", "1.10.5", "2.0.5"}, args: map[string]any{"in_legs": true, "only": "servers"}, text: "servers and clients have to go together"},
		"a playbook that does not know of legs": {have: []string{"1.8.4", "1.10.5", "2.0.5"}, text: "1.6.10 to 2.0.5 spans 6 minor versions"},
		"straight":                              {have: []string{"2.0.5"}, args: map[string]any{"in_legs": true, "allow_unsupported_skip": true}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newFakeCluster(t, 3, 1)
			for _, a := range c.agents {
				a.version, a.disk = "1.6.10", "1.6.10"
			}
			c.factsOfAll()
			dir := t.TempDir()
			for _, version := range test.have {
				if err := os.WriteFile(filepath.Join(dir, "nomad-"+version), testrelease.Program(t, "amd64", version), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			args := map[string]any{"version": "2.0.5", "binary_dir": dir}
			for key, value := range test.args {
				args[key] = value
			}
			result, err := c.do(t.Context(), "s1", "nomad_preflight", args)
			if (err == nil) != (test.text == "") || err != nil && !strings.Contains(err.Error(), test.text) {
				t.Fatalf("%v", err)
			}
			if err != nil {
				return
			}
			text, err := json.Marshal(expression.ToGo(result.Data))
			if err != nil {
				t.Fatal(err)
			}
			var got struct{ Plan nomad.Plan }
			if err := json.Unmarshal(text, &got); err != nil {
				t.Fatal(err)
			}
			var legs []string
			for _, leg := range got.Plan.Legs {
				legs = append(legs, leg.Target.String())
			}
			if diff := cmp.Diff(test.want, legs); diff != "" {
				t.Errorf("legs (-want +got):\n%s", diff)
			}
		})
	}
}

// What the staged binary says of a licence decides, on servers only.
func TestStageJudgesTheLicence(t *testing.T) {
	for name, test := range map[string]struct {
		host, version string
		lines         []string
		want          string // of the message
		refused       string
	}{
		"valid":                 {"s1", "1.11.0+ent", []string{"Product: nomad", "License is valid"}, "licence valid (license_path /etc/license)", ""},
		"expired":               {"s1", "1.11.0+ent", []string{"Product: nomad", "Validation Errors:", "  * license is no longer valid"}, "", "nothing was stopped: the new binary says of the licence (license_path /etc/license): license is no longer valid"},
		"a client needs none":   {"c1", "1.11.0+ent", nil, "/usr/bin/nomad.drover-1.11.0+ent", ""},
		"the community edition": {"s1", "1.11.0", nil, "/usr/bin/nomad.drover-1.11.0", ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := newFakeCluster(t, 1, 1)
			c.license = test.lines
			c.factsOfAll()
			file := filepath.Join(t.TempDir(), "nomad")
			if err := os.WriteFile(file, testrelease.Program(t, "amd64", test.version), 0o700); err != nil {
				t.Fatal(err)
			}
			result, err := c.do(t.Context(), test.host, "nomad_stage", map[string]any{"version": test.version, "binary": file})
			switch {
			case test.refused != "" && (err == nil || !strings.Contains(err.Error(), test.refused)):
				t.Error(err)
			case test.refused == "" && (err != nil || !strings.Contains(result.Message, test.want)):
				t.Errorf("%v %+v", err, result)
			}
		})
	}
}

// A leg of one region looks at no host of another.
func TestPreflightLooksAtNobodyElsewhere(t *testing.T) {
	for name, elsewhere := range map[string][]any{"all": {}, "without c2": {"c2"}} {
		t.Run(name, func(t *testing.T) {
			c := newFakeCluster(t, 3, 2)
			c.must("s1", "nomad_preflight", map[string]any{"version": "1.11.0", "elsewhere": elsewhere})
			if looked := len(c.agent("c2").log) > 0; looked != (len(elsewhere) == 0) {
				t.Errorf("c2 was looked at: %t", looked)
			}
		})
	}
}

// Each region has a leader of its own, who is last among its servers.
func TestLeaderLastInEachRegion(t *testing.T) {
	c := newFakeCluster(t, 4, 0)
	for name, region := range map[string]string{"s1": "west", "s2": "west", "s3": "east", "s4": "east"} {
		c.agent(name).region = region
	}
	c.agent("s1").leader, c.agent("s3").leader, c.agent("s4").leader = true, true, false
	c.factsOfAll()
	hosts, err := LeaderLast(t.Context(), c, c.run, true, []string{"s1", "s2", "s3", "s4"})
	if diff := cmp.Diff([]string{"s2", "s1", "s4", "s3"}, hosts); err != nil || diff != "" {
		t.Errorf("%v, order (-want +got):\n%s", err, diff)
	}
	c.agent("s3").leader = false
	if hosts, err := LeaderLast(t.Context(), c, c.run, true, []string{"s1", "s2", "s3", "s4"}); hosts != nil || err != nil {
		t.Errorf("with a region that has no leader: %v, %v", hosts, err)
	}
}
