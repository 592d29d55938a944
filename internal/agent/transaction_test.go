// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"drover/internal/wire"
)

// swapOnDisk is a committed swap of two files, without systemd.
func swapOnDisk(t *testing.T) *transaction {
	t.Helper()
	dir := t.TempDir()
	p := plan{ID: "1", Kind: kindSwap, Binary: filepath.Join(dir, "nomad"), Placed: filepath.Join(dir, "nomad.drover-2"), Ours: true, Previous: filepath.Join(dir, "nomad.drover-previous"), BootID: bootID(), Copies: filepath.Join(dir, "copies")}
	p.Request = wire.SwapPrepare{Unit: "nomad.service", Staged: dir + "/staged", Client: true, Server: true, DataDir: dir}
	for path, id := range map[string]*fileID{p.Binary: &p.Old, p.Placed: &p.New} {
		if err := os.WriteFile(path, []byte(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if *id, err = idOf(path); err != nil {
			t.Fatal(err)
		}
	}
	p.Back = p.Old
	record := filepath.Join(dir, "record")
	if err := createRecord(record, p); err != nil {
		t.Fatal(err)
	}
	r, err := openRecord(record)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.close)
	return &transaction{record: r}
}

func TestTheOldBinaryComesBackWithoutCopiesOnlyWhereTheNewOneNeverRan(t *testing.T) {
	tests := map[string]struct {
		prepare func(*transaction) error
		back    bool
	}{
		"never started":         {func(*transaction) error { return nil }, true},
		"started":               {func(tr *transaction) error { return tr.step(stepStarting, "") }, false},
		"the host was rebooted": {func(tr *transaction) error { tr.plan.BootID = "another"; return nil }, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			tr := swapOnDisk(t)
			if err := exchange(tr.plan); err != nil {
				t.Fatal(err)
			}
			if err := test.prepare(tr); err != nil {
				t.Fatal(err)
			}
			err := tr.bringBack()
			now, idErr := idOf(tr.plan.Binary)
			if (err == nil) != test.back || idErr != nil || (now == tr.plan.Old) != test.back {
				t.Errorf("old binary back: %t (%v), want %t", now == tr.plan.Old, err, test.back)
			}
		})
	}
}

func TestExchangeTakesOnlyTheCheckedBinary(t *testing.T) {
	tr := swapOnDisk(t)
	other := tr.plan.Placed + ".other"
	if err := os.WriteFile(other, []byte("other"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(other, tr.plan.Placed); err != nil {
		t.Fatal(err)
	}
	if err := exchange(tr.plan); !wire.IsKind(err, wire.KindStale) {
		t.Errorf("error %v", err)
	}
	if now, err := idOf(tr.plan.Binary); err != nil || now != tr.plan.Old {
		t.Errorf("the installed binary was touched: %v", err)
	}
}

func TestTheUnitIsLookedAtAgainAfterAReload(t *testing.T) {
	tr := swapOnDisk(t)
	good := service{UnitState: wire.UnitState{
		Name: "nomad.service", LoadState: "loaded", MainPID: 7, KillMode: "process", KillSignal: 15, ExecStartPath: tr.plan.Binary,
	}}
	tr.plan.Request.Signal = wire.StopTERM
	tests := map[string]struct {
		change func(*service)
		want   string
	}{
		"as asked":                     {func(*service) {}, ""},
		"another drop-in has its say":  {func(s *service) { s.KillSignal = 2 }, "would be stopped with signal 2"},
		"an edit kills the tasks":      {func(s *service) { s.KillMode = "control-group" }, "KillMode=control-group"},
		"an edit stops it otherwise":   {func(s *service) { s.ExecStop = true }, "has an ExecStop"},
		"an edit names another binary": {func(s *service) { s.ExecStartPath = tr.plan.Placed }, "had changed since systemd read them"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := good
			test.change(&s)
			err := stillSwappable(s, tr.plan)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}
