// SPDX-License-Identifier: MPL-2.0

package playbooks

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"drover/internal/modules"
)

var update = flag.Bool("update", false, "write what the parser says now into the golden files")

// testModules is a small table, so that the tests of the language do not follow every change of a module.
func testModules() []modules.Module {
	return []modules.Module{
		{
			Name: "command", FreeForm: "cmd", Exclusive: [][]string{{"cmd", "argv"}},
			Args: []modules.Arg{
				{Name: "cmd", Kind: modules.String},
				{Name: "argv", Kind: modules.List},
				{Name: "chdir", Kind: modules.Path},
				{Name: "creates", Kind: modules.Path},
			},
		},
		{
			Name: "copy",
			Args: []modules.Arg{
				{Name: "src", Kind: modules.Path},
				{Name: "content", Kind: modules.String},
				{Name: "dest", Kind: modules.Path, Required: true},
				{Name: "mode", Kind: modules.Mode},
				{Name: "backup", Kind: modules.Boolean},
			},
		},
		{
			Name: "systemd", Aliases: []string{"service"},
			Args: []modules.Arg{
				{Name: "name", Kind: modules.String, Aliases: []string{"unit"}, Required: true},
				{Name: "state", Kind: modules.String, Choices: []string{"started", "stopped", "restarted", "reloaded"}},
				{Name: "enabled", Kind: modules.Boolean},
			},
		},
		{Name: "debug", Args: []modules.Arg{{Name: "msg", Kind: modules.Any}, {Name: "var", Kind: modules.Raw}}},
		{Name: "assert", Args: []modules.Arg{{Name: "that", Kind: modules.Raw, Required: true}, {Name: "fail_msg", Kind: modules.String}}},
		{Name: "set_fact", Open: true, Args: []modules.Arg{{Name: "cacheable", Kind: modules.Boolean}}},
		{Name: "pause", Args: []modules.Arg{{Name: "seconds", Kind: modules.Integer}, {Name: "for", Kind: modules.Duration}}},
	}
}

// TestGolden holds each archive of testdata/parse to what it says: playbook.yml is read, want is the dump or the mistakes,
// preceded by the warnings.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/parse/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := outcome(t, archive.Files[0].Data)
			want := ""
			if len(archive.Files) > 1 {
				want = string(archive.Files[1].Data)
			}
			if diff := cmp.Diff(want, got); diff != "" && !*update {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if *update {
				archive.Files = append(archive.Files[:1], txtar.File{Name: "want", Data: []byte(got)})
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func outcome(t *testing.T, data []byte) string {
	t.Helper()
	playbook, warnings, err := Parse("p.yml", data, Options{Modules: testModules()})
	var b strings.Builder
	for _, warning := range warnings {
		b.WriteString("warning: " + warning.String() + "\n")
	}
	if err != nil {
		b.WriteString(err.Error() + "\n")
		return b.String()
	}
	b.WriteString(dump(playbook))
	return b.String()
}

// FuzzParse holds that no file makes the parser panic, and that every mistake has a place within the file.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/parse/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(archive.Files[0].Data)
	}
	table := testModules()
	f.Fuzz(func(t *testing.T, data []byte) {
		playbook, _, err := Parse("p.yml", data, Options{Modules: table})
		if err == nil {
			dump(playbook)
			return
		}
		var problems *Problems
		if !errors.As(err, &problems) {
			t.Fatalf("the error is a %T: %v", err, err)
		}
		lines := len(splitLines(data))
		for _, problem := range problems.List {
			if problem.Line < 1 || problem.Line > lines+1 || problem.Column < 1 {
				t.Errorf("position %d:%d is not in a file of %d lines: %v", problem.Line, problem.Column, lines, problem)
			}
		}
	})
}
