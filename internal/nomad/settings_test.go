// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestReadSettings(t *testing.T) {
	tests := map[string]struct {
		text string
		want []Setting
	}{
		"nothing that anybody asks for": {"region = \"eu\"\nports { http = 1 rpc = 2 }", nil},
		"attributes and blocks": {
			"data_dir = \"/opt/nomad\"\nserver {\n  enabled = true\n  raft_protocol = 2\n}\n",
			[]Setting{{"data_dir", "/opt/nomad", "f", 1}, {"server.raft_protocol", "2", "f", 4}},
		},
		"a quoted number":        {`server { raft_protocol = "2" }`, []Setting{{"server.raft_protocol", "2", "f", 1}}},
		"keys in any case":       {`Server { Raft_Protocol = 2 }`, []Setting{{"server.raft_protocol", "2", "f", 1}}},
		"a block twice":          {"server { raft_protocol = 2 }\nserver { raft_protocol = 3 }", []Setting{{"server.raft_protocol", "2", "f", 1}, {"server.raft_protocol", "3", "f", 2}}},
		"a secret has no value":  {"vault {\n token = \"s.hidden\"\n}", []Setting{{"vault.token", "", "f", 2}}},
		"an empty secret":        {`vault { token = "" }`, nil},
		"labels":                 {"plugin \"raw_exec\" {\n config {\n  no_cgroups = true\n }\n}", []Setting{{"plugin.raw_exec", "", "f", 1}, {"plugin.raw_exec.config.no_cgroups", "true", "f", 3}}},
		"an empty plugin":        {`plugin "nomad-driver-podman" {}`, []Setting{{"plugin.nomad-driver-podman", "", "f", 1}}},
		"a list":                 {"client { template {\n function_denylist = [\"plugin\", \"x\"]\n} }", []Setting{{"client.template.function_denylist", "plugin,x", "f", 2}}},
		"an empty list":          {"client { template { function_denylist = [] } }", []Setting{{"client.template.function_denylist", "", "f", 1}}},
		"a key with a dot":       {`client { options = { "fingerprint.denylist" = "env_aws" } }`, []Setting{{"client.options.fingerprint.denylist", "env_aws", "f", 1}}},
		"a broken file":          {"data_dir = \"/x\"\nserver {\n  raft_protocol = \n}", []Setting{{KeyUnread, "", "f", 4}}},
		"a number too large":     {"server { raft_protocol = 99999999999999999999 }", []Setting{{"server.raft_protocol", "99999999999999999999", "f", 1}}},
		"JSON":                   {"{\n \"server\": {\n  \"raft_protocol\": 2\n },\n \"vault\": {\"token\": \"s.hidden\"}}", []Setting{{"server.raft_protocol", "2", "f", 3}, {"vault.token", "", "f", 5}}},
		"JSON of repeated":       {`{"plugin": [{"raw_exec": [{"config": [{"no_cgroups": true}]}]}]}`, []Setting{{"plugin.raw_exec", "", "f", 1}, {"plugin.raw_exec.config.no_cgroups", "true", "f", 1}}},
		"JSON list":              {`{"client": {"template": {"function_denylist": ["plugin", "x"]}}}`, []Setting{{"client.template.function_denylist", "plugin,x", "f", 1}}},
		"JSON null":              {`{"datacenter": null}`, nil},
		"broken JSON":            {"{\n\"datacenter\": \"dc1\",\n \"vault\": {\"token\": s.hidden", []Setting{{"datacenter", "dc1", "f", 2}, {KeyUnread, "", "f", 3}}},
		"a bomb of blocks":       {strings.Repeat("a {", 20_000), []Setting{{KeyUnread, "", "f", 0}}},
		"a bomb of lists, JSON":  {`{"a":` + strings.Repeat("[", 20_000), []Setting{{KeyUnread, "", "f", 1}}},
		"deeper than any config": {strings.Repeat("a {", 50) + strings.Repeat("}", 50), []Setting{{KeyUnread, "", "f", 1}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, ReadSettings("f", []byte(test.text))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestReadSettingsIsBounded reads a file of the largest size in a moment, and keeps little of it.
func TestReadSettingsIsBounded(t *testing.T) {
	long := strings.Repeat("é", 600_000)
	for name, text := range map[string]string{
		"HCL":            strings.Repeat("plugin \"x\" {}\n", 9_000),
		"JSON":           "{\n" + strings.Repeat("\"plugin\": {\"x\": {}},\n", 50_000) + "\"a\": 1}",
		"a long value":   "datacenter = \"" + long + "\"",
		"a long element": `{"datacenter": ["` + long + `"]}`,
	} {
		began := time.Now()
		found := ReadSettings("f", []byte(text))
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s: %s", name, took)
		}
		if len(found) == 0 || len(found) > maximumSettings+1 || len(found) > 1 && found[maximumSettings].Key != KeyUnread {
			t.Errorf("%s: %d settings", name, len(found))
		}
		if len(found) > 0 && len(found[0].Value) > maximumValue {
			t.Errorf("%s: kept %d bytes", name, len(found[0].Value))
		}
	}
}

func TestDeciding(t *testing.T) {
	tests := map[string]struct {
		values []string
		want   string
		ok     bool
	}{
		"none":                          {nil, "", false},
		"the last":                      {[]string{"2", "3"}, "3", true},
		"zero does not override":        {[]string{"2", "0"}, "2", true},
		"empty does not override":       {[]string{"2", ""}, "2", true},
		"false does not override":       {[]string{"true", "false"}, "true", true},
		"the last where all are zero":   {[]string{"0", "false"}, "false", true},
		"zero of the same file does":    {[]string{"2", "3", "same:0"}, "2", true},
		"the last of the same file":     {[]string{"2", "same:3"}, "3", true},
		"other keys are of no interest": {[]string{"2", "x:3"}, "2", true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var settings []Setting
			for i, value := range test.values {
				s := Setting{Key: "key", Value: value, File: fmt.Sprint(i), Line: i}
				if same, is := strings.CutPrefix(value, "same:"); is {
					s.Value, s.File = same, fmt.Sprint(i-1)
				}
				if other, is := strings.CutPrefix(value, "x:"); is {
					s = Setting{Key: "other", Value: other}
				}
				settings = append(settings, s)
			}
			got, ok := Deciding(settings, "key")
			if got.Value != test.want || ok != test.ok {
				t.Errorf("%v, %v", got, ok)
			}
		})
	}
	// A secret's value is not kept, and the last one decides all the same.
	secrets := []Setting{{Key: "vault.token", File: "a"}, {Key: "vault.token", File: "b"}}
	if got, _ := Deciding(secrets, "vault.token"); got.File != "b" {
		t.Errorf("%v", got)
	}
}

func TestFlagSettings(t *testing.T) {
	argv := strings.Fields("/usr/bin/nomad agent -config /etc/nomad.d -raft-protocol=2 --dc dc1 -vault-token=s.hidden -vault-allow-unauthenticated -vault-token s.hidden")
	want := []Setting{
		{"server.raft_protocol", "2", execStart, 0},
		{"datacenter", "dc1", execStart, 0},
		{"vault.token", "", execStart, 0},
		{"vault.allow_unauthenticated", "true", execStart, 0},
		{"vault.token", "", execStart, 0},
	}
	if diff := cmp.Diff(want, flagSettings(argv)); diff != "" {
		t.Error(diff)
	}
}

// FuzzReadSettings holds the reader to three things: it ends, it never keeps a secret, and what it finds stands in the file.
func FuzzReadSettings(f *testing.F) {
	for _, text := range []string{
		"server { raft_protocol = 2 }", `{"vault":{"token":"s.hidden"}}`, "vault { token = \"s.hidden\" }", "plugin \"x\" { config { no_cgroups = true } }",
		"a = <<E\nx\nE\n", `client { template { function_denylist = ["a", ["b"], {c = 1}] } }`, "data_dir = 0x1 }", `{"data_dir":{"data_dir":["x",{}]}}`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		lines := strings.Count(text, "\n") + 1
		for _, s := range ReadSettings("f", []byte(text)) {
			if secretSetting(s.Key) && s.Value != "" {
				t.Errorf("kept the secret %q", s.Value)
			}
			if s.Line < 0 || s.Line > lines+1 {
				t.Errorf("line %d of %d", s.Line, lines)
			}
		}
		_ = new(ConfigText).Merge([]byte(text))
		_ = fmt.Sprint(Deciding(ReadSettings("f", []byte(text)), "datacenter"))
	})
}
