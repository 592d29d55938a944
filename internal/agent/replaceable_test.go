// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"os"
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
