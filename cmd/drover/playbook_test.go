// SPDX-License-Identifier: MPL-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestPlaybookCommands lists, shows, ejects and checks every ready playbook there is.
func TestPlaybookCommands(t *testing.T) {
	files, err := filepath.Glob("../../playbooks/library/*.yml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no ready playbooks: %v", err)
	}
	dir := t.TempDir()
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(file[:len(file)-len(".yml")])
		script := fmt.Sprintf(`exec drover playbook list
stdout '^%[1]s +[A-Z].+[^.]$'
exec drover playbook show %[1]s
cmp stdout written
exec drover playbook eject %[1]s ours.yml
! stdout .
cmp ours.yml written
exec drover playbook check ours.yml
! stdout .
! stderr .
! exec drover playbook eject %[1]s ours.yml
stderr 'ours.yml exists already and is left as it is'
-- written --
%[2]s`, name, text)
		if err := os.WriteFile(filepath.Join(dir, name+".txtar"), []byte(script), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	testscript.Run(t, testscript.Params{
		Dir: dir, RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			return nil
		},
	})
}
