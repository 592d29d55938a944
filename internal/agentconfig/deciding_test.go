// SPDX-License-Identifier: MPL-2.0

package agentconfig

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sourcesOf names the files a.hcl, b.hcl and so on, in one directory.
func sourcesOf(texts ...string) []Source {
	var sources []Source
	for i, text := range texts {
		sources = append(sources, Source{Path: "/etc/nomad.d/" + string(rune('a'+i)) + ".hcl", Text: []byte(text)})
	}
	return sources
}

func mustPath(t testing.TB, text string) Path {
	t.Helper()
	path, err := ParsePath(text)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDecidingFile(t *testing.T) {
	tests := map[string]struct {
		files []string
		argv  string
		key   string
		want  string // place, "" for none
	}{
		"nobody":                             {[]string{"region = \"eu\""}, "", raft, ""},
		"the only one":                       {[]string{"server {\n raft_protocol = 2\n}"}, "", raft, "a.hcl:2:2 2"},
		"the last file":                      {[]string{"server { raft_protocol = 2 }", "server { raft_protocol = 3 }"}, "", raft, "b.hcl:1:10 3"},
		"the last of a file":                 {[]string{"server { raft_protocol = 2 }\nserver { raft_protocol = 3 }"}, "", raft, "a.hcl:2:10 3"},
		"zero of a later file":               {[]string{"server { raft_protocol = 2 }", "server { raft_protocol = 0 }"}, "", raft, "a.hcl:1:10 2"},
		"zero of the same file":              {[]string{"server { raft_protocol = 2 raft_protocol = 0 }"}, "", raft, "a.hcl:1:28 0"},
		"false of a later file":              {[]string{"leave_on_terminate = true", "leave_on_terminate = false"}, "", "leave_on_terminate", "a.hcl:1:1 true"},
		"false where it is a pointer":        {[]string{"vault { enabled = true }", "vault { enabled = false }"}, "", "vault.enabled", "b.hcl:1:9 false"},
		"empty where it is a map":            {[]string{"client { meta { a = \"1\" } }", "client { meta { a = \"\" } }"}, "", "client.meta.a", "b.hcl:1:17 \"\""},
		"a flag":                             {[]string{"server { raft_protocol = 2 }"}, "nomad agent -raft-protocol=3", raft, "-raft-protocol \"3\""},
		"a flag, two dashes and a space":     {[]string{"server { raft_protocol = 2 }"}, "nomad agent -config /etc/nomad.d --raft-protocol 3", raft, "-raft-protocol \"3\""},
		"a flag that is zero":                {[]string{"server { raft_protocol = 2 }"}, "nomad agent -raft-protocol=0", raft, "a.hcl:1:10 2"},
		"a flag that takes no word":          {[]string{"server { enabled = false }"}, "nomad agent -server -config /etc/nomad.d", "server.enabled", "-server true"},
		"a value that looks like a flag":     {[]string{"region = \"eu\""}, "nomad agent -node -region -dc x", "region", "a.hcl:1:1 \"eu\""},
		"a flag behind a word":               {[]string{"region = \"eu\""}, "nomad agent x -region us", "region", "a.hcl:1:1 \"eu\""},
		"a flag before the command":          {[]string{"region = \"eu\""}, "nomad -region us agent", "region", "a.hcl:1:1 \"eu\""},
		"a flag of Consul":                   {[]string{""}, "nomad agent -consul-address=127.0.0.1:1", "consul.address", "-consul-address \"127.0.0.1:1\""},
		"a flag of the client":               {[]string{""}, "nomad agent -node-class web", "client.node_class", "-node-class \"web\""},
		"JSON and HCL":                       {[]string{`{"server": {"raft_protocol": 2}}`, "server { enabled = true }"}, "", raft, "a.hcl:1:13 2"},
		"another Consul cluster is not ours": {[]string{"consul { ssl = true }\nconsul {\n name = \"x\"\n ssl = false\n}"}, "", "consul.ssl", "a.hcl:1:10 true"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			path := mustPath(t, test.key)
			all, err := Occurrences(sourcesOf(test.files...), strings.Fields(test.argv), path)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if o, ok := Deciding(all, path); ok && o.Flag != "" {
				got = o.Flag + " " + o.Value.String()
			} else if ok {
				got = strings.TrimPrefix(o.Where(), "/etc/nomad.d/") + " " + o.Value.String()
			}
			if got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

func TestEditsOfSeveralFiles(t *testing.T) {
	tests := map[string]struct {
		files []string
		argv  string
		key   string
		want  any // nil: not set
		after []string
	}{
		"nothing to do":                  {[]string{"server { raft_protocol = 3 }", "region = \"eu\""}, "", raft, 3, nil},
		"the file that decides":          {[]string{"server { raft_protocol = 2 }", "server { raft_protocol = 2 }", "region = \"eu\""}, "", raft, 3, []string{"b server { raft_protocol = 3 }"}},
		"the one that decides over zero": {[]string{"server { raft_protocol = 2 }", "server { raft_protocol = 0 }"}, "", raft, 3, []string{"a server { raft_protocol = 3 }"}},
		"the last file with the block":   {[]string{"server {}", "server { enabled = true }", "region = \"eu\""}, "", raft, 3, []string{"b server { enabled = true raft_protocol = 3 }"}},
		"the file with most blocks":      {[]string{"client { template {} }", "client {}"}, "", "client.template.disable_file_sandbox", true, []string{"a client { template { disable_file_sandbox = true } }"}},
		"the last file":                  {[]string{"region = \"eu\"", "name = \"x\"\n"}, "", raft, 3, []string{"b name = \"x\"\n\nserver {\n  raft_protocol = 3\n}\n"}},
		"false takes all that are true":  {[]string{"leave_on_terminate = true", "leave_on_terminate = true", "leave_on_terminate = false"}, "", "leave_on_terminate", false, []string{"b leave_on_terminate = false", "a leave_on_terminate = false"}},
		"false where it is a pointer":    {[]string{"vault { enabled = true }", "vault { enabled = true }"}, "", "vault.enabled", false, []string{"b vault { enabled = false }"}},
		"not set any more, everywhere":   {[]string{"server { raft_protocol = 2 }", "server { raft_protocol = 2 }"}, "", raft, nil, []string{"a server { }", "b server { }"}},
		"a flag that says the same":      {[]string{"server { raft_protocol = 2 }"}, "nomad agent -raft-protocol=3", raft, 3, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			edits, err := Edits(sourcesOf(test.files...), strings.Fields(test.argv), mustPath(t, test.key), wanted(t, test.want))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.after, shown(edits)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func wanted(t testing.TB, value any) *Value {
	t.Helper()
	if value == nil {
		return nil
	}
	v, err := ValueOf(value)
	if err != nil {
		t.Fatal(err)
	}
	return &v
}

func shown(edits []Edit) []string {
	var texts []string
	for _, e := range edits {
		name := strings.TrimSuffix(strings.TrimPrefix(e.Path, "/etc/nomad.d/"), ".hcl")
		texts = append(texts, name+" "+string(e.After))
	}
	return texts
}

func TestRefusedEditsOfSeveralFiles(t *testing.T) {
	tests := map[string]struct {
		files []string
		argv  string
		key   string
		want  any
		says  string
	}{
		"a flag decides":             {[]string{"server {}"}, "nomad agent -raft-protocol=2", raft, 3, "set by the flag -raft-protocol"},
		"a flag, to be taken out":    {[]string{"server {}"}, "nomad agent -raft-protocol=2", raft, nil, "set by the flag -raft-protocol"},
		"a file that cannot be read": {[]string{"server {", "server {}"}, "", raft, 3, "/etc/nomad.d/a.hcl:"},
		"no files":                   {nil, "", raft, 3, "no configuration files"},
		"lists that are joined":      {[]string{"server { retry_join = [\"a\"] }", "server { retry_join = [\"b\"] }"}, "", "server.retry_join", []any{"c"}, "a.hcl:1:10 and at /etc/nomad.d/b.hcl:1:10"},
		"a plugin of two files":      {[]string{"plugin \"x\" { config { a = 1 } }", "plugin \"x\" { config { b = 1 } }"}, "", "plugin.x.config.a", 2, "both configure the plugin x"},
		"another kind":               {[]string{"server = 1"}, "", raft, 3, "server is a number at 1:1, so that server.raft_protocol cannot be set"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			edits, err := Edits(sourcesOf(test.files...), strings.Fields(test.argv), mustPath(t, test.key), wanted(t, test.want))
			if err == nil || !strings.Contains(err.Error(), test.says) || len(edits) > 0 {
				t.Errorf("%v, %v; want an error with %q", shown(edits), err, test.says)
			}
		})
	}
	_, err := Edits(sourcesOf(""), []string{"nomad", "agent", "-raft-protocol=2"}, mustPath(t, raft), wanted(t, 3))
	var flag *FlagError
	if !errors.As(err, &flag) || flag.Flag != "-raft-protocol" {
		t.Errorf("%v", err)
	}
}

func TestDropIn(t *testing.T) {
	const drop = "server {\n  raft_protocol = 3\n}\n"
	tests := map[string]struct {
		files []string
		name  string
		key   string
		want  any
		after string
		says  string
	}{
		"a new file":                  {[]string{"server { raft_protocol = 2 }"}, "zz.hcl", raft, 3, "zz " + drop, ""},
		"a new JSON file":             {[]string{"server { raft_protocol = 2 }"}, "zz.json", raft, 3, "zz.json {\n  \"server\": {\n    \"raft_protocol\": 3\n  }\n}\n", ""},
		"into one that is there":      {[]string{"server { raft_protocol = 2 }", "# mine\nserver {\n}\n"}, "b.hcl", raft, 3, "b # mine\n" + drop, ""},
		"there already":               {[]string{"", drop}, "b.hcl", raft, 3, "", ""},
		"there in another file too":   {[]string{drop}, "zz.hcl", raft, 3, "zz " + drop, ""},
		"a directory without files":   {nil, "zz.hcl", raft, 3, "zz " + drop, ""},
		"taken out":                   {[]string{"server { raft_protocol = 2 }", drop}, "b.hcl", raft, nil, "b server {\n}\n", ""},
		"a name that sorts before":    {[]string{"", "server { raft_protocol = 2 }"}, "aa.hcl", raft, 3, "", "b.hcl:1:10 sets server.raft_protocol, and comes after"},
		"zero cannot be set by it":    {[]string{"leave_on_terminate = true"}, "zz.hcl", "leave_on_terminate", false, "", "cannot take it back"},
		"false where it is a pointer": {[]string{"vault { enabled = true }"}, "zz.hcl", "vault.enabled", false, "zz vault {\n  enabled = false\n}\n", ""},
		"plugins are not merged":      {[]string{""}, "zz.hcl", "plugin.x.config.a", 1, "", "from one file only"},
		"not a name that Nomad loads": {[]string{""}, "zz.conf", raft, 3, "", "not the name of a file that Nomad loads"},
		"a path":                      {[]string{""}, "../zz.hcl", raft, 3, "", "not the name of a file that Nomad loads"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			edits, err := DropIn(sourcesOf(test.files...), nil, "/etc/nomad.d", test.name, mustPath(t, test.key), wanted(t, test.want))
			if test.says != "" {
				if err == nil || !strings.Contains(err.Error(), test.says) {
					t.Errorf("%v; want an error with %q", err, test.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(shown(edits), "\n"); got != test.after {
				t.Errorf("%q, want %q", got, test.after)
			}
			if len(edits) > 0 && (edits[0].Before == nil) != strings.HasPrefix(test.name, "zz") {
				t.Errorf("before: %q", edits[0].Before)
			}
		})
	}
	if _, err := DropIn(sourcesOf(""), []string{"nomad", "agent", "-raft-protocol=2"}, "/etc/nomad.d", "zz.hcl", mustPath(t, raft), wanted(t, 3)); err == nil {
		t.Error("a flag decides, and nothing was said")
	}
}

func TestHide(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"nothing":         {"region = \"eu\"\n", "region = \"eu\"\n"},
		"a token":         {"vault {\n  token = \"s.x\" # new\n}\n", "vault {\n  token = \"***\" # new\n}\n"},
		"an empty one":    {"vault { token = \"\" }", "vault { token = \"\" }"},
		"the gossip key":  {"server { encrypt = \"abc=\" }", "server { encrypt = \"***\" }"},
		"a file":          {"server { token_file = \"/x\" }", "server { token_file = \"/x\" }"},
		"a comment":       {"# token = \"s.x\"\n", "# token = ***\n"},
		"a heredoc":       {"vault {\n  token = <<E\ns.x\nE\n}\n", "vault {\n  token = \"***\"\n}\n"},
		"JSON":            {`{"vault": {"token": "s.x"}, "consul": [{"token": "y"}]}`, `{"vault": {"token": "***"}, "consul": [{"token": "***"}]}`},
		"cloud join":      {"server { retry_join = [\"provider=aws secret_access_key=abc region=eu\"] }", "server { retry_join = [\"provider=aws secret_access_key=*** region=eu\"] }"},
		"a URL":           {"consul { address = \"http://u:pw@h/\" }", "consul { address = \"http://u:***@h/\" }"},
		"what is no file": {"vault { token = \"s.x\"", "***"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Hide([]byte(test.text)); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

func ExampleEdits() {
	files := []Source{
		{Path: "/etc/nomad.d/nomad.hcl", Text: []byte("region = \"eu\"\n")},
		{Path: "/etc/nomad.d/server.hcl", Text: []byte("server {\n  enabled = true\n}\n")},
	}
	path, _ := ParsePath("server.raft_protocol")
	three, _ := ValueOf(3)
	edits, err := Edits(files, []string{"/usr/bin/nomad", "agent", "-config", "/etc/nomad.d"}, path, &three)
	fmt.Println(err)
	for _, e := range edits {
		fmt.Printf("%s\n%s", e.Path, e.After)
	}
	// Output:
	// <nil>
	// /etc/nomad.d/server.hcl
	// server {
	//   enabled = true
	//   raft_protocol = 3
	// }
}
