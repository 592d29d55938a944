// SPDX-License-Identifier: MPL-2.0

package agentconfig

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// edit is one file before and after. want nil takes the key out.
type edit struct {
	name   string
	before string
	key    string
	want   any
	after  string
}

func crlf(text string) string { return strings.ReplaceAll(text, "\n", "\r\n") }

const raft = "server.raft_protocol"

// corpus holds configurations of every shape that agents are known to load, with the bytes that an edit makes of them.
func corpus() []edit {
	return append(append(hclCorpus(), moreHCL()...), jsonCorpus()...)
}

func hclCorpus() []edit {
	return []edit{
		{"a number", "server {\n  raft_protocol = 2\n}\n", raft, 3, "server {\n  raft_protocol = 3\n}\n"},
		{"a number in quotation marks", "server {\n  raft_protocol = \"2\"\n}\n", raft, 3, "server {\n  raft_protocol = 3\n}\n"},
		{"the same in quotation marks stays", "server {\n  raft_protocol = \"3\"\n}\n", raft, 3, "server {\n  raft_protocol = \"3\"\n}\n"},
		{"the same in hexadecimal stays", "server { raft_protocol = 0x3 }", raft, 3, "server { raft_protocol = 0x3 }"},
		{"a text for a number", "server {\n  raft_protocol = 2\n}\n", raft, "3", "server {\n  raft_protocol = 3\n}\n"},
		{"a boolean", "leave_on_terminate = false\n", "leave_on_terminate", true, "leave_on_terminate = true\n"},
		{"a text for a boolean", "leave_on_terminate = false\n", "leave_on_terminate", "true", "leave_on_terminate = true\n"},
		{"a text", "region = \"eu\" # where\n", "region", "us-1", "region = \"us-1\" # where\n"},
		{"a list", "server {\n  server_join {\n    retry_join = [\"a\", # one\n      \"b\"]\n  }\n}\n", "server.server_join.retry_join", []any{"c", "d"}, "server {\n  server_join {\n    retry_join = [\"c\", \"d\"]\n  }\n}\n"},
		{"keys in quotation marks", "\"server\" {\n  \"raft_protocol\" = 2\n}\n", raft, 3, "\"server\" {\n  \"raft_protocol\" = 3\n}\n"},
		{"keys in any case", "Server {\n  Raft_Protocol = 2\n}\n", raft, 3, "Server {\n  Raft_Protocol = 3\n}\n"},
		{"a block with an equals sign", "server = {\n  raft_protocol = 2\n}\n", raft, 3, "server = {\n  raft_protocol = 3\n}\n"},
		{"no spaces", "server{raft_protocol=2}", raft, 3, "server{raft_protocol=3}"},
		{"tabs", "server {\n\traft_protocol\t=\t2\n}\n", raft, 3, "server {\n\traft_protocol\t=\t3\n}\n"},
		{"on one line", "ports { http = 1 rpc = 2 }\n", "ports.rpc", 4647, "ports { http = 1 rpc = 4647 }\n"},
		{"on one line, the first", "ports { http = 1 rpc = 2 }\n", "ports.http", 4646, "ports { http = 4646 rpc = 2 }\n"},
		{"a block twice", "server {\n  raft_protocol = 2\n}\nserver {\n  raft_protocol = 2\n}\n", raft, 3, "server {\n  raft_protocol = 2\n}\nserver {\n  raft_protocol = 3\n}\n"},
		{"a key twice", "server { raft_protocol = 3 raft_protocol = 2 }", raft, 3, "server { raft_protocol = 3 raft_protocol = 3 }"},
		{"a block twice, set in the first", "server {\n  raft_protocol = 2\n}\nserver {\n  enabled = true\n}\n", raft, 3, "server {\n  raft_protocol = 3\n}\nserver {\n  enabled = true\n}\n"},
		{"comments in every place", "# raft_protocol = 1\n/* server { */ server /* a */ { // b\n  raft_protocol /* c */ = /* d */ 2 /* e */ # f\n  // raft_protocol = 4\n}\n", raft, 3, "# raft_protocol = 1\n/* server { */ server /* a */ { // b\n  raft_protocol /* c */ = /* d */ 3 /* e */ # f\n  // raft_protocol = 4\n}\n"},
		{"a comment behind the last line", "server {\n  enabled = true\n  # the end\n}\n", raft, 3, "server {\n  enabled = true\n  # the end\n  raft_protocol = 3\n}\n"},
		{"a heredoc that looks like it", "name = <<EOF\nserver {\n  raft_protocol = 2\n}\nEOF\nserver {\n  raft_protocol = 2\n}\n", raft, 3, "name = <<EOF\nserver {\n  raft_protocol = 2\n}\nEOF\nserver {\n  raft_protocol = 3\n}\n"},
		{"a heredoc for a text", "name = <<EOF\nold\nEOF\nregion = \"eu\"\n", "name", "new", "name = \"new\"\nregion = \"eu\"\n"},
		{"an indented heredoc, CRLF", crlf("client {\n  meta {\n    a = <<-X\n      old\n      X\n  }\n}\n"), "client.meta.a", "new", crlf("client {\n  meta {\n    a = \"new\"\n  }\n}\n")},
		{"CRLF", crlf("# a\nserver {\n  raft_protocol = 2 # b\n}\n"), raft, 3, crlf("# a\nserver {\n  raft_protocol = 3 # b\n}\n")},
		{"CRLF, a new key", crlf("# a\n\nserver {\n  enabled = true # b\n}\n"), raft, 3, crlf("# a\n\nserver {\n  enabled = true # b\n  raft_protocol = 3\n}\n")},
		{"CRLF, a new block", crlf("region = \"eu\"\n"), raft, 3, crlf("region = \"eu\"\n\nserver {\n  raft_protocol = 3\n}\n")},
		{"CRLF and LF mixed", "a_b {\r\n}\nserver {\r\n  raft_protocol = 2\n}\r\n", raft, 3, "a_b {\r\n}\nserver {\r\n  raft_protocol = 3\n}\r\n"},
		{"no line break at the end", "region = \"eu\"", raft, 3, "region = \"eu\"\n\nserver {\n  raft_protocol = 3\n}\n"},
		{"a comment without line break at the end", "# server { raft_protocol = 2 }", raft, 3, "# server { raft_protocol = 2 }\n\nserver {\n  raft_protocol = 3\n}\n"},
		{"an empty file", "", raft, 3, "server {\n  raft_protocol = 3\n}\n"},
		{"a new key of the root", "region = \"eu\"\nserver {}\n", "name", "s1", "region = \"eu\"\nserver {}\nname = \"s1\"\n"},
	}
}

func moreHCL() []edit {
	return []edit{
		{"a new key, one line", "server { enabled = true }\n", raft, 3, "server { enabled = true raft_protocol = 3 }\n"},
		{"a new key, one line with commas", "ports = { http = 1, rpc = 2 }\n", "ports.serf", 3, "ports = { http = 1, rpc = 2, serf = 3 }\n"},
		{"a new key, tight braces", "server {enabled=true}\n", raft, 3, "server {enabled=true raft_protocol = 3}\n"},
		{"a new key, empty braces", "server {}\n", raft, 3, "server { raft_protocol = 3 }\n"},
		{"a new key, an empty line of a block", "server {\n}\n", raft, 3, "server {\n  raft_protocol = 3\n}\n"},
		{"a new key, brace behind a key", "server {\n  enabled = true }\n", raft, 3, "server {\n  enabled = true raft_protocol = 3 }\n"},
		{"a new key, tabs", "server {\n\tenabled = true\n}\n", raft, 3, "server {\n\tenabled = true\n\traft_protocol = 3\n}\n"},
		{"a new key, four spaces from another block", "client {\n    enabled = true\n}\nserver {\n}\n", raft, 3, "client {\n    enabled = true\n}\nserver {\n    raft_protocol = 3\n}\n"},
		{"a new key, aligned", "server {\n  enabled          = true\n  bootstrap_expect = 1\n}\n", "server.raft_protocol", 3, "server {\n  enabled          = true\n  bootstrap_expect = 1\n  raft_protocol = 3\n}\n"},
		{"a new key, aligned to a padded line", "server {\n  bootstrap_expect = 1\n  enabled          = true\n}\n", "server.raft_protocol", 3, "server {\n  bootstrap_expect = 1\n  enabled          = true\n  raft_protocol    = 3\n}\n"},
		{"a new key in the last of two blocks", "server { enabled = true }\nserver {\n  enabled = true\n}\n", raft, 3, "server { enabled = true }\nserver {\n  enabled = true\n  raft_protocol = 3\n}\n"},
		{"a new block in a block", "client {\n  enabled = true\n}\n", "client.template.disable_file_sandbox", true, "client {\n  enabled = true\n  template {\n    disable_file_sandbox = true\n  }\n}\n"},
		{"a new block in a block of one line", "client { enabled = true }\n", "client.template.disable_file_sandbox", true, "client { enabled = true template { disable_file_sandbox = true } }\n"},
		{"a plugin's label", "plugin \"docker\" {\n  config {\n    allow_privileged = false\n  }\n}\n", "plugin.docker.config.allow_privileged", true, "plugin \"docker\" {\n  config {\n    allow_privileged = true\n  }\n}\n"},
		{"a new plugin", "plugin \"docker\" {}\n", "plugin.raw_exec.config.enabled", true, "plugin \"docker\" {}\n\nplugin \"raw_exec\" {\n  config {\n    enabled = true\n  }\n}\n"},
		{"an option with dots", "client {\n  options = {\n    \"driver.raw_exec.enable\" = \"0\"\n  }\n}\n", "client.options.driver.raw_exec.enable", "1", "client {\n  options = {\n    \"driver.raw_exec.enable\" = \"1\"\n  }\n}\n"},
		{"a new option with dots", "client {\n  enabled = true\n}\n", "client.options.driver.raw_exec.enable", "1", "client {\n  enabled = true\n  options {\n    \"driver.raw_exec.enable\" = \"1\"\n  }\n}\n"},
		{"keys of maps have a case", "client {\n  meta {\n    Rack = \"1\"\n  }\n}\n", "client.meta.rack", "2", "client {\n  meta {\n    Rack = \"1\"\n    rack = \"2\"\n  }\n}\n"},
		{"another Vault cluster", "vault {\n  name = \"other\"\n  enabled = false\n}\nvault {\n  enabled = false\n}\n", "vault.enabled", true, "vault {\n  name = \"other\"\n  enabled = false\n}\nvault {\n  enabled = true\n}\n"},
		{"what HCL must escape", "name = \"x\"\n", "name", "a \"b\" \\ c\nd", "name = \"a \\\"b\\\" \\\\ c\\nd\"\n"},
		{"an interpolation", "client { meta { a = \"x\" } }", "client.meta.a", "${attr.x}", "client { meta { a = \"${attr.x}\" } }"},
		{"half an interpolation", "client { meta { a = \"x\" } }", "client.meta.a", "${attr", "client { meta { a = \"\\u0024{attr\" } }"},
		{"quotation marks in an interpolation", "client { meta { a = \"${f(\"x\")} \" b = 1 } }", "client.meta.b", "2", "client { meta { a = \"${f(\"x\")} \" b = 2 } }"},
		{"a text beyond ASCII before", "name = \"é😀\" # ü\nserver { raft_protocol = 2 }", raft, 3, "name = \"é😀\" # ü\nserver { raft_protocol = 3 }"},
		{"taken out, its line", "server {\n  enabled = true\n  raft_protocol = 2\n  # c\n}\n", raft, nil, "server {\n  enabled = true\n  # c\n}\n"},
		{"taken out, the comment stays", "server {\n  raft_protocol = 2 # since 2020\n}\n", raft, nil, "server {\n  # since 2020\n}\n"},
		{"taken out, CRLF", crlf("server {\n  raft_protocol = 2\n}\n"), raft, nil, crlf("server {\n}\n")},
		{"taken out, first of a line", "ports { http = 1 rpc = 2 }\n", "ports.http", nil, "ports { rpc = 2 }\n"},
		{"taken out, last of a line", "ports { http = 1, rpc = 2 }\n", "ports.rpc", nil, "ports { http = 1 }\n"},
		{"taken out, alone", "server { raft_protocol = 2 }\n", raft, nil, "server { }\n"},
		{"taken out everywhere", "server { raft_protocol = 2 }\nserver {\n  raft_protocol = 3\n}\n", raft, nil, "server { }\nserver {\n}\n"},
		{"taken out, a heredoc", "name = <<E\nx\nE\nregion = \"eu\"\n", "name", nil, "region = \"eu\"\n"},
		{"taken out of nothing", "server {}\n", raft, nil, "server {}\n"},
	}
}

func jsonCorpus() []edit {
	return []edit{
		{"JSON", "{\n  \"server\": {\n    \"raft_protocol\": 2\n  }\n}\n", raft, 3, "{\n  \"server\": {\n    \"raft_protocol\": 3\n  }\n}\n"},
		{"JSON, quoted", `{"server": {"raft_protocol": "2"}}`, raft, 3, `{"server": {"raft_protocol": 3}}`},
		{"JSON, CRLF", crlf("{\n  \"server\": {\n    \"raft_protocol\": 2\n  }\n}\n"), raft, 3, crlf("{\n  \"server\": {\n    \"raft_protocol\": 3\n  }\n}\n")},
		{"JSON, a repeated block", `{"server": [{"raft_protocol": 2}, {"enabled": true}]}`, raft, 3, `{"server": [{"raft_protocol": 3}, {"enabled": true}]}`},
		{"JSON, a key twice", `{"server": {"raft_protocol": 2}, "server": {"raft_protocol": 2}}`, raft, 3, `{"server": {"raft_protocol": 2}, "server": {"raft_protocol": 3}}`},
		{"JSON, a new key", "{\n\t\"server\": {\n\t\t\"enabled\": true\n\t}\n}\n", raft, 3, "{\n\t\"server\": {\n\t\t\"enabled\": true,\n\t\t\"raft_protocol\": 3\n\t}\n}\n"},
		{"JSON, a new key on one line", `{"server": {"enabled": true}}`, raft, 3, `{"server": {"enabled": true, "raft_protocol": 3}}`},
		{"JSON, a new key without spaces", `{"server":{"enabled":true}}`, raft, 3, `{"server":{"enabled":true,"raft_protocol":3}}`},
		{"JSON, a new block", "{\n  \"region\": \"eu\"\n}\n", raft, 3, "{\n  \"region\": \"eu\",\n  \"server\": {\n    \"raft_protocol\": 3\n  }\n}\n"},
		{"JSON, an empty object", "{\n  \"server\": {}\n}\n", raft, 3, "{\n  \"server\": {\n    \"raft_protocol\": 3\n  }\n}\n"},
		{"JSON, an empty file", "{}", raft, 3, `{"server": {"raft_protocol": 3}}`},
		{"JSON, a comma at the end", "{\n  \"region\": \"eu\",\n}\n", "name", "s1", "{\n  \"region\": \"eu\",\n  \"name\": \"s1\"\n}\n"},
		{"JSON, a text with a brace", `{"name": "a } \" {", "server": {"raft_protocol": 2}}`, raft, 3, `{"name": "a } \" {", "server": {"raft_protocol": 3}}`},
		{"JSON, what must be escaped", `{"name": "x"}`, "name", "a\"<b>\\\n", `{"name": "a\"<b>\\\n"}`},
		{"JSON, a plugin", `{"plugin": [{"raw_exec": [{"config": [{"enabled": false}]}]}]}`, "plugin.raw_exec.config.enabled", true, `{"plugin": [{"raw_exec": [{"config": [{"enabled": true}]}]}]}`},
		{"JSON, a list", `{"server": {"retry_join": ["a"]}}`, "server.retry_join", []any{"b", "c"}, `{"server": {"retry_join": ["b", "c"]}}`},
		{"JSON, white space before", "\n\t {\"region\": \"eu\"}", "region", "us", "\n\t {\"region\": \"us\"}"},
		{"JSON, taken out first", `{"a_b": 1, "region": "eu", "name": "x"}`, "a_b", nil, `{"region": "eu", "name": "x"}`},
		{"JSON, taken out last", "{\n  \"name\": \"x\",\n  \"region\": \"eu\"\n}\n", "region", nil, "{\n  \"name\": \"x\"\n}\n"},
		{"JSON, taken out alone", `{"server": {"raft_protocol": 2}}`, raft, nil, `{"server": {}}`},
	}
}

func (e edit) apply(t *testing.T) (string, error) {
	t.Helper()
	path, err := ParsePath(e.key)
	if err != nil {
		t.Fatal(err)
	}
	if e.want == nil {
		after, err := Unset([]byte(e.before), path)
		return string(after), err
	}
	v, err := ValueOf(e.want)
	if err != nil {
		t.Fatal(err)
	}
	after, err := Set([]byte(e.before), path, v)
	return string(after), err
}

func TestEdits(t *testing.T) {
	names := map[string]bool{}
	for _, e := range corpus() {
		if names[e.name] {
			t.Errorf("%s comes twice", e.name)
		}
		names[e.name] = true
		t.Run(e.name, func(t *testing.T) {
			got, err := e.apply(t)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(e.after, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			again := e
			again.before = got
			if twice, err := again.apply(t); err != nil || twice != got {
				t.Errorf("a second time: %q, %v", twice, err)
			}
		})
	}
	if len(names) < 80 {
		t.Errorf("the corpus has %d edits", len(names))
	}
}

func TestRefusedEdits(t *testing.T) {
	tests := map[string]struct {
		edit
		says string
	}{
		"a block is no attribute":              {edit{before: "server {}", key: "server", want: 1}, "server is a block at 1:8"},
		"a block cannot be taken out":          {edit{before: "server {}", key: "server"}, "server is a block at 1:1"},
		"a list is no number":                  {edit{before: "server { retry_join = [] }", key: "server.retry_join", want: 1}, "is a list at 1:23"},
		"a number is no list":                  {edit{before: "server { retry_join = 1 }", key: "server.retry_join", want: []any{"a"}}, "is a number at 1:23"},
		"a list twice":                         {edit{before: "server { retry_join = [\"a\"] retry_join = [\"b\"] }", key: "server.retry_join", want: []any{"a"}}, "set 2 times"},
		"a label is not an attribute":          {edit{before: "plugin \"docker\" {}", key: "plugin.docker", want: 1}, "is a block"},
		"a block with a label is no attribute": {edit{before: "server A {}", key: "server", want: 1}, "server A is a block at 1:1"},
		"a new label is not an attribute":      {edit{before: "plugin \"docker\" {}", key: "plugin.exec", want: 1}, "block with a label"},
		"broken HCL":                           {edit{before: "server {\n  raft_protocol = \n}", key: raft, want: 1}, "3:2: this is not HCL"},
		"broken JSON":                          {edit{before: "{\n \"server\": x}", key: raft, want: 1}, "2:12: this is no JSON value"},
		"JSON without a comma":                 {edit{before: "{\"a\": 1 \"b\": 2}", key: "a", want: 1}, "1:9: want a comma"},
		"HCL in which a list holds it":         {edit{before: "server = [{ raft_protocol = 2 }]", key: raft, want: 3}, "would reach server too"},
		"deeper than any config":               {edit{before: strings.Repeat("a {", 50) + strings.Repeat("}", 50), key: raft, want: 3}, "too deep"},
		"a bomb of blocks":                     {edit{before: strings.Repeat("a {", 20_000), key: raft, want: 3}, "more than 10000"},
		"a bomb of lists, JSON":                {edit{before: `{"a":` + strings.Repeat("[", 20_000), key: raft, want: 3}, "too deep"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := test.apply(t)
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%q, %v; want an error with %q", got, err, test.says)
			}
		})
	}
}

func TestParsePath(t *testing.T) {
	good := map[string]Path{
		"region":                                {"region"},
		"server.raft_protocol":                  {"server", "raft_protocol"},
		"client.options.driver.raw_exec.enable": {"client", "options", "driver.raw_exec.enable"},
		"client.meta.a":                         {"client", "meta", "a"},
		`plugin."my.driver".config.enabled`:     {"plugin", "my.driver", "config", "enabled"},
	}
	for text, want := range good {
		got, err := ParsePath(text)
		if err != nil || !cmp.Equal(want, got) || got.String() != text {
			t.Errorf("%s: %q, %q, %v", text, got, got.String(), err)
		}
	}
	for _, text := range []string{"", ".", "server.", ".a", "a..b", `"a`, `"a"b`, "a\nb", strings.Repeat("a.", 20) + "a"} {
		if got, err := ParsePath(text); err == nil {
			t.Errorf("%q was taken as %q", text, got)
		}
	}
}
