// SPDX-License-Identifier: MPL-2.0

package inventory_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"drover/inventory"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

// write lays out the files of a txtar archive and returns their directory.
func write(t *testing.T, archive string) string {
	t.Helper()
	directory := t.TempDir()
	for _, file := range txtar.Parse([]byte(archive)).Files {
		path := filepath.Join(directory, file.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, file.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return directory
}

// one loads a single file with that name and content.
func one(t *testing.T, name, content string) (*inventory.Inventory, []inventory.Warning, error) {
	t.Helper()
	return inventory.Load(inventory.Options{Sources: []string{filepath.Join(write(t, "-- "+name+" --\n"+content+"\n"), name)}})
}

func TestMistakes(t *testing.T) {
	for _, test := range []struct{ name, file, content, want string }{
		{"unknown kind of section", "h.ini", "[a:vars]\n[web:childern]", `h.ini:2:6: section [web:childern] is of an unknown kind; it can be hosts, children or vars; did you mean "children"?`},
		{"section with a blank", "h.ini", "[a b]", "h.ini:1:1: [a b] is not a section; write [group]"},
		{"child that is not defined", "h.ini", "[nomad_servers]\ns1\n[nomad:children]\n  nomad_server", `h.ini:4:3: [nomad:children] names group "nomad_server", which is not defined; did you mean "nomad_servers"?`},
		{"vars of no group", "h.ini", "[web]\n[wbe:vars]\nx=1", `h.ini:2:1: section [wbe:vars] is about a group that is not defined; did you mean "web"?`},
		{"circle", "h.ini", "[a:children]\nb\n[b:children]\na", `h.ini:4:1: group "a" cannot be a child of "b"`},
		{"own child", "h.ini", "[a:children]\na", `h.ini:2:1: group "a" cannot be a child of "a"`},
		{"host variable without =", "h.ini", "  h1 a=1 ansible_host 10.0.0.1", `h.ini:1:10: "ansible_host" has no =; after the host's name come name=value pairs`},
		{"variable without =", "h.ini", "[a]\n[a:vars]\nx", `h.ini:3:1: "x" has no =`},
		{"quote", "h.ini", "h1 a='b", "h.ini:1:1: a quote is not closed"},
		{"backslash", "h.ini", `h1 a=b\`, "h.ini:1:1: a backslash at the end"},
		{"colon", "h.ini", "h1:", `h.ini:1:1: host "h1:" ends in a colon`},
		{"yaml named ini", "h.ini", "---\nall:", "h.ini:1:1: this looks like the first line of a YAML file"},
		{"range too large", "h.ini", "h[1:999999999999]", `h.ini:1:1: host "h[1:999999999999]": range "[1:999999999999]": that would be more than 100000 hosts`},
		{"ranges too large together", "h.ini", "h[1:1000]x[1:1000]", `more than 100000 hosts`},
		{"hosts too many", "h.ini", "h[1:60000]\ni[1:60000]", `h.ini:2:1: that would be more than 100000 hosts`},
		{"range backwards", "h.ini", "h[3:1]", "it ends before it begins"},
		{"range of letters backwards", "h.ini", "h[c:a]", "it ends before it begins"},
		{"range with step 0", "h.ini", "h[1:3:0]", "the step is a number of at least 1"},
		{"range widths", "h.ini", "h[01:3]", "the same number of digits"},
		{"range without end", "h.ini", "h[1:]", "both ends are numbers"},
		{"range without bracket", "h.ini", "h[1:3", "has no closing bracket"},
		{"priority", "h.ini", "[a]\n[a:vars]\nansible_group_priority=high", "h.ini:3:1: ansible_group_priority of group \"a\" is high and must be an integer"},
		{"not text", "h.ini", "h1\n\xff", "h.ini:2:1: the line is not valid UTF-8"},
		{"program", "h.sh", "#!/bin/sh\necho", "is a program; inventory programs are not supported yet"},
		{"vault", "h", "$ANSIBLE_VAULT;1.1;AES256\n3132", "is encrypted with ansible-vault, which is not supported yet"},
		{"toml", "h.toml", "[a]", "is TOML, which is not supported"},
		{"plugin", "aws.yml", "plugin: aws_ec2", "aws.yml:1:1: this configures an inventory plugin"},
		{"vault value", "h.yml", "all:\n  vars:\n    x: !vault |\n      $ANSIBLE_VAULT", "h.yml:3:8: values encrypted with ansible-vault (!vault) are not supported yet"},
		{"yaml list", "h.yml", "- a", "h.yml:1:1: an inventory is a dictionary of groups, not a list"},
		{"yaml key", "h.yml", "all:\n  childern:\n    a:", `h.yml:2:3: group "all" has the unknown key "childern"; it can have hosts, children and vars; did you mean "children"?`},
		{"yaml hosts as list", "h.yml", "all:\n  hosts:\n    - a", `h.yml:3:5: hosts of group "all" is a dictionary, not a list; end each name with a colon`},
		{"yaml group", "h.yml", "all: 3", `h.yml:1:6: group "all" is a dictionary of hosts, children and vars, not an integer`},
		{"yaml host", "h.yml", "all:\n  hosts:\n    a: b", `h.yml:3:8: the variables of host "a" are a dictionary, not text`},
		{"yaml host number", "h.yml", "all:\n  hosts:\n    10:", `h.yml:3:5: the host's name is an integer, not text; put the name in quotes`},
		{"yaml circle", "h.yml", "a:\n  children:\n    b:\n      children:\n        a:", `h.yml:3:5: group "b" cannot be a child of "a"`},
		{"yaml syntax", "h.yml", "all:\n  vars:\n    x: {{ y }}", "h.yml:3:8: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, _, err := one(t, test.file, test.content)
			if err == nil {
				t.Fatalf("accepted, want %q", test.want)
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("%q\nwant %q in it", err, test.want)
			}
		})
	}
}

func TestMissingSource(t *testing.T) {
	_, _, err := inventory.Load(inventory.Options{Sources: []string{"nowhere.ini"}})
	if err == nil || !strings.Contains(err.Error(), "inventory nowhere.ini does not exist") {
		t.Error(err)
	}
}

func TestWarnings(t *testing.T) {
	for _, test := range []struct{ name, file, content, want string }{
		{"connection variable", "h.ini", "h1 ansible_hots=10.0.0.1", `h.ini:1:4: ansible_hots is not a connection variable that is known here; it is kept as an ordinary variable; did you mean "ansible_host"?`},
		{"in yaml", "h.yml", "all:\n  vars:\n    ansible_becom: true", `h.yml:3:5: ansible_becom is not`},
		{"version", "h.ini", "[all:vars]\nnomad_version=1.10", "h.ini:2:1: nomad_version is a number here"},
		{"version in yaml", "h.yml", "all:\n  vars:\n    nomad_version: 1.10", "h.yml:3:20: the version 1.10 is read as the number 1.1"},
		{"comment in a word", "h.ini", "h1 pw=a#b", "h.ini:1:8: this # begins a comment"},
		{"host and group", "h.ini", "[web]\nweb", `h.ini:2:1: "web" is a host and a group`},
		{"empty", "h.yml", "", "h.yml:1:1: the inventory file is empty"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, warnings, err := one(t, test.file, test.content)
			if err != nil {
				t.Fatal(err)
			}
			if len(warnings) != 1 || !strings.Contains(warnings[0].String(), test.want) {
				t.Errorf("%v\nwant %q", warnings, test.want)
			}
		})
	}
	for _, name := range []string{"ansible_python_interpreter", "ansible_ssh_common_args", "role", "nomad_version"} {
		if _, warnings, err := one(t, "h.ini", "h1 "+name+"=x"); err != nil || len(warnings) > 0 {
			t.Errorf("%s: %v, %v", name, warnings, err)
		}
	}
}

func TestWhichFilesAreRead(t *testing.T) {
	directory := write(t, `
-- inv/a --
[web]
w1
-- inv/b.yml --
web:
  hosts:
    w2:
-- inv/c.ini --
w3
-- inv/d.bak --
w4
-- inv/group_vars/web.yml --
x: file
-- inv/group_vars/web/10.yml --
x: directory
-- inv/group_vars/web/sub/20.json --
{"y": 1}
`)
	inv, warnings, err := inventory.Load(inventory.Options{Sources: []string{filepath.Join(directory, "inv")}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"w1", "w2"}, names(inv.Hosts())); diff != "" {
		t.Error(diff)
	}
	var texts []string
	for _, w := range warnings {
		texts = append(texts, strings.ReplaceAll(w.Message, directory, ""))
	}
	want := []string{
		"/inv/c.ini is left out, as Ansible leaves .ini and .cfg files in an inventory directory out; rename it or name it with its own -i",
		"/inv/group_vars/web.yml is not read, because /inv/group_vars/web exists",
	}
	if diff := cmp.Diff(want, texts); diff != "" {
		t.Error(diff)
	}
	host, _ := inv.Host("w1")
	if diff := cmp.Diff(map[string]any{"x": "directory", "y": float64(1)}, ansibleForm(inv.Vars(host))); diff != "" {
		t.Error(diff)
	}
}

func TestAddToGroup(t *testing.T) {
	directory := write(t, `
-- hosts --
h1
h2
[old]
h2
-- group_vars/nomad_servers.yml --
role: server
`)
	inv, _, err := inventory.Load(inventory.Options{Sources: []string{filepath.Join(directory, "hosts")}})
	if err != nil {
		t.Fatal(err)
	}
	h1, _ := inv.Host("h1")
	if inv.Vars(h1).Len() != 0 {
		t.Error("variables of a group that the host is not in")
	}
	for _, want := range []bool{true, false} {
		changed, err := inv.AddToGroup(h1, "nomad_servers")
		if err != nil || changed != want {
			t.Errorf("changed %t, %v; want %t", changed, err, want)
		}
	}
	if role, _ := inv.Vars(h1).Get("role"); role != "server" {
		t.Errorf("role is %v", role)
	}
	if diff := cmp.Diff([]string{"nomad_servers"}, inv.GroupNames(h1)); diff != "" {
		t.Error(diff)
	}
	if ungrouped, _ := inv.Group("ungrouped"); len(ungrouped) != 0 {
		t.Errorf("ungrouped still has %v", names(ungrouped))
	}
	hosts, _, err := inv.Match("nomad_servers")
	if diff := cmp.Diff([]string{"h1"}, names(hosts)); diff != "" || err != nil {
		t.Error(diff, err)
	}
	all, _ := inv.Group("all")
	if len(all) != 2 {
		t.Errorf("all has %v", names(all))
	}
}

// TestConcurrentUse is for the race detector: hosts join groups while others are looked up.
func TestConcurrentUse(t *testing.T) {
	inv, _, err := one(t, "h.ini", "h[1:50] x=1")
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for _, host := range inv.Hosts() {
		wait.Go(func() {
			if _, err := inv.AddToGroup(host, "joined"); err != nil {
				t.Error(err)
			}
			if inv.Vars(host).Len() != 1 || len(inv.GroupNames(host)) != 1 {
				t.Errorf("%s: %v, %v", host.Name, inv.Vars(host), inv.GroupNames(host))
			}
			if hosts, _, err := inv.Match("joined"); err != nil || len(hosts) == 0 {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if joined, _ := inv.Group("joined"); len(joined) != 50 {
		t.Errorf("%d hosts joined", len(joined))
	}
}

func TestListAndGraph(t *testing.T) {
	inv, _, err := one(t, "h.ini", "lone\n[servers]\ns1 x=1\n[nomad:children]\nservers")
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(inv.List())
	if err != nil {
		t.Fatal(err)
	}
	want := `{"_meta":{"hostvars":{"s1":{"x":1}}},"all":{"children":["ungrouped","nomad"]},"nomad":{"children":["servers"]},` +
		`"servers":{"hosts":["s1"]},"ungrouped":{"hosts":["lone"]}}`
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Error(diff)
	}
	graph, err := inv.Graph("all")
	if err != nil {
		t.Fatal(err)
	}
	drawn := "@all:\n  |--@ungrouped:\n  |  |--lone\n  |--@nomad:\n  |  |--@servers:\n  |  |  |--s1\n"
	if diff := cmp.Diff(drawn, graph); diff != "" {
		t.Error(diff)
	}
	if _, err := inv.Graph("server"); err == nil || !strings.Contains(err.Error(), `did you mean "servers"?`) {
		t.Error(err)
	}
}

func TestLimit(t *testing.T) {
	inv, _, err := one(t, "h.ini", "[servers]\ns1\ns2\n[clients]\nc1\n[empty]")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(write(t, "-- limit --\n# failed\ns2\n\nclients\n-- large --\ns1\n"), "limit")
	large := filepath.Join(filepath.Dir(file), "large")
	if err := os.Truncate(large, 32<<20+1); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		limit string
		want  []string
		err   string
	}{
		{limit: "servers", want: []string{"s1", "s2"}},
		{limit: "@" + file, want: []string{"s2", "c1"}},
		{limit: "!servers", want: []string{"c1"}},
		{limit: "s1,serverz", err: `--limit: no host or group is called "serverz"; did you mean "servers"?`},
		{limit: "s1:!c9", err: `--limit: no host or group is called "c9"`},
		{limit: "empty", err: `no host matches "empty"`},
		{limit: "servers:&clients", err: `no host matches "servers:&clients"`},
		{limit: "servers[7]", err: `pattern "servers[7]": servers has 2 hosts, counted from 0`},
		{limit: "~(", err: `pattern "~(": error parsing regexp`},
		{limit: "~(?=s)", err: "invalid or unsupported Perl syntax"},
		{limit: "@/nowhere/at/all", err: "--limit @/nowhere/at/all: open"},
		{limit: "@" + large, err: large + " is larger than 32 MiB"},
		{limit: "a*", err: `no host or group is called "a*"`},
		{limit: "s1,!", err: "a pattern is empty"},
		{limit: "servers[0-1]", err: "write the range as [0:1]"},
		{limit: "", err: `no host matches ""`},
	} {
		t.Run(test.limit, func(t *testing.T) {
			got, err := inv.Limit(test.limit)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("%v, want %q", err, test.err)
				}
				return
			}
			if diff := cmp.Diff(test.want, names(got)); diff != "" || err != nil {
				t.Error(diff, err)
			}
		})
	}
}

func TestUnknownNameInHosts(t *testing.T) {
	inv, _, err := one(t, "h.ini", "[servers]\ns1\n[clients]\nc1")
	if err != nil {
		t.Fatal(err)
	}
	hosts, warnings, err := inv.Match("servers", "cleints")
	if err != nil || len(hosts) != 1 || len(warnings) != 1 || !strings.Contains(warnings[0].Message, `did you mean "clients"?`) {
		t.Errorf("%v, %v, %v", names(hosts), warnings, err)
	}
	_, _, err = inv.Match("cleints")
	var none *inventory.NoHostsError
	if !errors.As(err, &none) || none.Pattern != "cleints" || !strings.Contains(none.Hint, `did you mean "clients"?`) {
		t.Errorf("%v", err)
	}
	all, _, _ := inv.Match("all")
	limit, _ := inv.Limit("c1,s1")
	if diff := cmp.Diff([]string{"s1", "c1"}, names(inventory.Restrict(all, limit))); diff != "" {
		t.Error("Restrict keeps the play's order:", diff)
	}
}
