// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"drover/internal/wire"
)

func TestAMaskedUnitIsNamedSo(t *testing.T) {
	_, err := installed(service{UnitState: wire.UnitState{Name: "nomad.service", LoadState: "masked"}})
	if !wire.IsKind(err, wire.KindInvalid) || !strings.Contains(err.Error(), "nomad.service is masked") {
		t.Errorf("got %v", err)
	}
}

func TestOnlyNomadIsReplaced(t *testing.T) {
	dir := t.TempDir()
	ran := filepath.Join(dir, "ran")
	nomad := filepath.Join(dir, "nomad-bin")
	if err := os.WriteFile(nomad, compile(t, "./testdata/fakenomad", "-X main.version=1.10.5"), 0o755); err != nil {
		t.Fatal(err)
	}
	put := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tests := map[string]struct {
		path string
		want string
	}{
		"a Nomad binary":             {nomad, ""},
		"a broken file of its name":  {put("nomad", "\x7fELF cut"), ""},
		"an empty file of its name":  {put("nomad-empty", ""), ""},
		"a shell":                    {"/bin/sh", "not a Nomad binary"},
		"env":                        {"/usr/bin/env", "not a Nomad binary"},
		"a script that is no Nomad":  {put("run-agent", "#!/bin/sh\ntouch "+ran+"\n"), "not a Nomad binary"},
		"a script with Nomad's name": {put("nomad-wrapper", "#!/bin/sh\ntouch "+ran+"\necho Nomad v1.10.5\n"), "not a Nomad binary"},
	}
	a, err := New(Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := a.replaceable(t.Context(), service{UnitState: wire.UnitState{Name: "nomad.service"}}, test.path)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("a script was run to ask for its version")
	}
}

func TestAProgramThatIsNotThereIsNamed(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "nomad")
	if err := os.Symlink(filepath.Join(dir, "gone"), link); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "none"): "ExecStart of nomad.service names " + dir + "/none, which does not exist",
		link:                       "ExecStart of nomad.service names " + link + ", which leads to " + dir + "/gone, and that does not exist",
	} {
		s := service{UnitState: wire.UnitState{Name: "nomad.service", LoadState: "loaded", ExecStartPath: path}}
		if _, err := installed(s); !wire.IsKind(err, wire.KindInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
		a, err := New(Options{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		var result wire.AgentResult
		if err := a.describeBinary(t.Context(), nil, s, &result); err != nil || result.Binary != path || len(result.Refusals) != 1 || result.Refusals[0].Message != want {
			t.Errorf("described as %+v, %v", result, err)
		}
	}
}

func TestAUnitThatRefusesJobsIsRefused(t *testing.T) {
	set := properties{"RefuseManualStop": true, "RefuseManualStart": true}
	s := service{UnitState: wire.UnitState{Name: "nomad.service", RefuseManual: set.firstSet("RefuseManualStop", "RefuseManualStart")}}
	if err := refuseManual(s); !wire.IsKind(err, wire.KindUnsupported) || !strings.Contains(err.Error(), "nomad.service has RefuseManualStop=yes") {
		t.Errorf("got %v", err)
	}
	if err := refuseManual(service{}); err != nil {
		t.Error(err)
	}
}

// A filesystem that keeps no attributes cannot show what one of them does.
func TestWhatChattrHasFixedIsRefused(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "nomad")
	if err := os.WriteFile(path, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	s := service{UnitState: wire.UnitState{Name: "nomad.service"}}
	for _, fixed := range []struct{ path, letter string }{{path, "i"}, {dir, "i"}, {dir, "a"}} {
		if err := exec.Command("chattr", "+"+fixed.letter, fixed.path).Run(); err != nil {
			t.Logf("chattr +%s does not work here (%v)", fixed.letter, err)
			continue
		}
		err := refuseImmutable(s, target{path: path, file: path})
		switched := refuseImmutable(s, target{path: "/a", file: path, link: "/nomad"})
		if undo := exec.Command("chattr", "-"+fixed.letter, fixed.path).Run(); undo != nil {
			t.Fatal(undo)
		}
		if !wire.IsKind(err, wire.KindUnsupported) || !strings.Contains(err.Error(), "chattr -"+fixed.letter+" "+fixed.path) {
			t.Errorf("%+v: got %v", fixed, err)
		}
		if (switched == nil) != (fixed.path == path) {
			t.Errorf("%+v behind a link: got %v", fixed, switched)
		}
	}
	if err := refuseImmutable(s, target{path: path, file: path}); err != nil {
		t.Error(err)
	}
}
