// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// TestTableIsComplete holds that every module can be documented and checked from its entry alone.
func TestTableIsComplete(t *testing.T) {
	seen := map[string]bool{}
	for _, module := range Table() {
		t.Run(module.Name, func(t *testing.T) {
			for _, name := range append([]string{module.Name}, module.Aliases...) {
				if seen[name] {
					t.Errorf("%s is the name of two modules", name)
				}
				seen[name] = true
			}
			if module.Short == "" || module.Doc == "" || module.Example == "" || module.Run == nil {
				t.Error("it lacks Short, Doc, Example or Run")
			}
			if strings.HasSuffix(module.Short, ".") {
				t.Errorf("Short is no sentence, it ends without a dot: %q", module.Short)
			}
			if !slices.Contains([]CheckMode{CheckFull, CheckReads, CheckSkipped}, module.Check) {
				t.Errorf("check mode %q", module.Check)
			}
			if _, ok := module.Arg(module.FreeForm); module.FreeForm != "" && !ok {
				t.Errorf("its free form %q is no argument", module.FreeForm)
			}
			checkArgs(t, &module)
		})
	}
}

func checkArgs(t *testing.T, module *Module) {
	t.Helper()
	seen := map[string]bool{}
	for _, arg := range module.Args {
		for _, name := range append([]string{arg.Name}, arg.Aliases...) {
			if seen[name] {
				t.Errorf("two arguments are called %s", name)
			}
			seen[name] = true
		}
		if arg.Doc == "" || arg.Kind == "" {
			t.Errorf("argument %s lacks Doc or Kind", arg.Name)
		}
		if arg.Required && arg.Default != nil {
			t.Errorf("argument %s is required and has a default", arg.Name)
		}
	}
	for _, returned := range module.Returns {
		if returned.Doc == "" || returned.Kind == "" {
			t.Errorf("returned key %s lacks Doc or Kind", returned.Name)
		}
	}
	for _, set := range module.Exclusive {
		for _, name := range set {
			if _, ok := module.Arg(name); !ok {
				t.Errorf("Exclusive names %s, which is no argument", name)
			}
		}
	}
	if err := module.fillDefaults(Args{values: map[string]any{}}); err != nil {
		t.Error(err)
	}
}

func TestTableIsSorted(t *testing.T) {
	table := Table()
	if !slices.IsSortedFunc(table, func(a, b Module) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("the table is not in the order of names")
	}
}

func TestFind(t *testing.T) {
	for _, name := range []string{"command", "ansible.builtin.command"} {
		if module, ok := Find(name); !ok || module.Name != "command" {
			t.Errorf("Find(%q) = %v, %t", name, module, ok)
		}
	}
	if _, ok := Find("community.general.command"); ok {
		t.Error("a module of another collection is found")
	}
}

func TestDescribe(t *testing.T) {
	module := sample()
	module.Short, module.Doc, module.Example = "Do something", "First.\n\nSecond.", "- sample: {dest: /a}"
	module.Check, module.Diff, module.FreeForm = CheckFull, true, "content"
	module.Args[0].Doc = strings.Repeat("word ", 30)
	text := Describe(module, 60)
	for _, want := range []string{
		"sample - Do something", "  First.\n\n  Second.", "! dest: path", "      aliases: path", "choices: present, absent",
		"default: present", "default: 3", "may stand right behind", "changes nothing", "--diff", "  - sample: {dest: /a}",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	for line := range strings.Lines(text) {
		if len(line) > 61 {
			t.Errorf("a line is longer than 60 characters: %q", line)
		}
	}
}

func TestDescribeJSON(t *testing.T) {
	for _, module := range Table() {
		data, err := DescribeJSON(&module)
		if err != nil {
			t.Fatal(err)
		}
		var document struct {
			Name    string
			Options []struct{ Name, Type, Description string }
		}
		if err := json.Unmarshal(data, &document); err != nil {
			t.Fatal(err)
		}
		if document.Name != module.Name || len(document.Options) != len(module.Args) {
			t.Errorf("%s: %+v", module.Name, document)
		}
	}
}

// TestTableHoldsTheModules names every module that playbooks may rely on, so that none gets lost.
func TestTableHoldsTheModules(t *testing.T) {
	for _, name := range []string{
		"command", "shell", "copy", "file", "stat", "systemd", "service", "slurp", "assert", "fail", "debug", "set_fact",
		"wait_for", "uri", "pause", "nomad_facts", "nomad_preflight", "nomad_stage", "nomad_snapshot",
		"nomad_transfer_leadership", "nomad_swap", "nomad_server_healthy", "nomad_client_ready", "nomad_allocs",
	} {
		if _, ok := Find(name); !ok {
			t.Errorf("there is no module %s", name)
		}
	}
}
