// SPDX-License-Identifier: MPL-2.0

package playbooks

import (
	"strings"
	"testing"

	"drover/internal/modules"
)

// TestLibrary holds that every ready playbook passes its own check without a warning, and says what it is for.
func TestLibrary(t *testing.T) {
	for _, entry := range Library() {
		t.Run(entry.Name, func(t *testing.T) {
			if entry.Short == "" {
				t.Error("it does not begin with a comment that says what it is for")
			}
			playbook, warnings, err := LoadLibrary(entry.Name, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if len(warnings) > 0 || len(playbook.Plays) == 0 {
				t.Errorf("%d plays, warnings %v", len(playbook.Plays), warnings)
			}
			for _, play := range playbook.Plays {
				for _, tasks := range [][]*Task{play.PreTasks, play.Tasks, play.PostTasks, play.Handlers} {
					wantNames(t, tasks)
				}
			}
		})
	}
	for _, name := range []string{"no-such", "../library/upgrade", ""} {
		if _, err := Open(name); err == nil {
			t.Errorf("Open(%q) finds something", name)
		}
	}
}

// wantNames holds that each task has a name, by which the lines of a run tell what happens.
func wantNames(t *testing.T, tasks []*Task) {
	t.Helper()
	for _, task := range tasks {
		if task.Module != nil && task.Name == nil {
			t.Errorf("%s: a task of %s has no name", task.At, task.Called)
		}
		for _, inner := range [][]*Task{task.Block, task.Rescue, task.Always} {
			wantNames(t, inner)
		}
	}
}

// TestEnterpriseIsAnUpgrade holds that the way to Enterprise differs from an upgrade in nothing but that it may change the edition.
func TestEnterpriseIsAnUpgrade(t *testing.T) {
	plays := func(name string) string {
		text, err := Open(name)
		if err != nil {
			t.Fatal(err)
		}
		_, plays, found := strings.Cut(string(text), "\n---\n")
		if !found {
			t.Fatalf("%s has no plays", name)
		}
		return plays
	}
	const only = "        to_enterprise: true\n"
	enterprise := plays("enterprise")
	if strings.Count(enterprise, only) != 1 || strings.Replace(enterprise, only, "", 1) != plays("upgrade") {
		t.Error("enterprise.yml and upgrade.yml differ in more than to_enterprise: what one got, the other needs too")
	}
}

// TestExamples holds that the example of every module is a task that the parser accepts.
func TestExamples(t *testing.T) {
	for _, module := range modules.Table() {
		t.Run(module.Name, func(t *testing.T) {
			text := "- hosts: all\n  tasks:\n"
			for line := range strings.Lines(strings.TrimSpace(module.Example) + "\n") {
				text += "    " + line
			}
			playbook, warnings, err := Parse("example.yml", []byte(text), Options{})
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			if len(warnings) > 0 {
				t.Errorf("warnings: %v", warnings)
			}
			called := false
			for task := range everyTask(playbook.Plays[0].Tasks) {
				called = called || task.Module != nil && task.Module.Name == module.Name
			}
			if !called {
				t.Error("the example does not call its module")
			}
		})
	}
}
