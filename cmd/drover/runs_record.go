// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"drover/executor"
	"drover/internal/event"
	"drover/internal/expression"
	"drover/internal/journal"
	"drover/internal/nomad"
	"drover/internal/wire"
	"drover/playbooks"
)

// asked is what a command knows of a run beyond its options.
type asked struct {
	command string
	target  string
	plan    *nomad.Plan // that the person was shown; nil: none

	through func(event.Sink) event.Sink // hears what the screen is to show; nil: nobody does
	last    func(event.Sink) error      // tells what is left to tell after a run that was not broken off; nil: nothing
}

// recorded carries out a playbook with everything it does on record before it happens and after.
func (p *playFlags) recorded(ctx context.Context, fl *fleet, book *playbooks.Playbook, more *expression.Map, screen event.Sink, what asked) (*executor.Summary, error) {
	extra, err := p.variables(more)
	if err != nil {
		return nil, err
	}
	executor.KeepSecrets(fl.secrets, book, fl.inventory, extra)
	manifest, err := p.manifest(fl, book, extra, what)
	if err != nil {
		return nil, err
	}
	record, err := fl.record(manifest)
	if err != nil {
		return nil, err
	}
	summary, err := p.carryOut(ctx, fl, book, more, event.Tee(record, screen))
	broken := record.Close()
	if summary == nil {
		// A mistake was found before anything began.
		_ = journal.Remove(fl.moduleRun().Directory)
		return nil, err
	}
	if broken != nil {
		return summary, lostRecord(broken)
	}
	return summary, err
}

// record starts the record of a run. Without one nothing starts.
func (f *fleet) record(manifest journal.Manifest) (*journal.Writer, error) {
	record, err := journal.Create(f.moduleRun().Directory, manifest, f.secrets)
	if err != nil {
		return nil, fmt.Errorf("nothing was started, because the run cannot be recorded: %w\nmake room there, or let XDG_STATE_HOME name a directory that can be written", err)
	}
	f.onRecord = true
	return record, nil
}

func lostRecord(err error) error {
	return fmt.Errorf("the run was stopped, because what it does can no longer be recorded: %w\n"+
		"what was in hand was finished and is shown above, nothing new was started; make room there, then run the same command again "+
		"(an upgrade goes on where it stopped, other commands begin anew)", err)
}

// ended tells how a run ended, and where its record is when it did not end well.
func (f *fleet) ended(summary *executor.Summary, err error) error {
	if err == nil {
		err = f.verdict(summary)
	}
	if err != nil && f.onRecord && f.flags.output != "json" && summary != nil {
		fmt.Fprintf(f.s.err, "what was done is on record: drover runs show %s\n", f.runID)
	}
	return err
}

// manifest freezes what was asked.
func (p *playFlags) manifest(fl *fleet, book *playbooks.Playbook, extra *expression.Map, what asked) (journal.Manifest, error) {
	text, err := playbookText(book)
	if err != nil {
		return journal.Manifest{}, err
	}
	sum := sha256.Sum256(text)
	m := p.fleetFlags.manifest(fl, what)
	m.Playbook = &journal.Playbook{
		File: book.File, Ready: readyPlaybook(book) != "", SHA256: hex.EncodeToString(sum[:]), Text: string(text),
	}
	m.Variables = extra
	m.Options = journal.Options{
		Limit: p.limit, Tags: p.tags, SkipTags: p.skipTags, StartAtTask: p.startAt, Check: p.check, Diff: p.diff, Forks: p.forks,
		ForceHandlers: p.forceHandlers, Become: p.become, BecomeUser: p.becomeUser, User: p.user,
	}
	m.Accepted = append(m.Accepted, acceptedRisks(extra)...)
	if what.plan != nil {
		if m.Plan, err = json.Marshal(what.plan); err != nil {
			return m, err
		}
	}
	m.Binaries, err = givenBinaries(extra)
	return m, err
}

func (f *fleetFlags) manifest(fl *fleet, what asked) journal.Manifest {
	m := journal.Manifest{
		Run: fl.runID, Command: what.command, Target: what.target, Started: time.Now(),
		By:     journal.By{User: "somebody", Machine: "an unnamed machine", PID: os.Getpid()},
		Drover: journal.Drover{Version: droverVersion(), Source: wire.Source},
		Inventory: journal.Inventory{
			Sources: f.inventories, Hosts: hostNames(fl.hosts), Resolved: fl.inventory.List(),
		},
		Options: journal.Options{Limit: f.limit, Forks: f.forks, User: f.user},
	}
	if current, err := user.Current(); err == nil {
		m.By.User = current.Username
	}
	if machine, err := os.Hostname(); err == nil {
		m.By.Machine = machine
	}
	if dir, err := os.Getwd(); err == nil {
		m.By.Directory = dir
	}
	if f.acceptNew {
		m.Accepted = append(m.Accepted, journal.Risk{Flag: "--accept-new", Accepts: "host keys that known_hosts does not know are believed at first sight"})
	}
	return m
}

// readyPlaybook is the name of the ready playbook that this is, "" for a file.
func readyPlaybook(book *playbooks.Playbook) string {
	name := strings.TrimSuffix(filepath.Base(book.File), ".yml")
	if book.File == "library/"+name+".yml" {
		return name
	}
	return ""
}

func playbookText(book *playbooks.Playbook) ([]byte, error) {
	if name := readyPlaybook(book); name != "" {
		if _, err := os.Stat(book.File); err != nil {
			return playbooks.Open(name)
		}
	}
	return readInput(book.File)
}

// acceptedRisks finds in the variables of the ready playbooks what somebody accepted, be it by a flag or by -e.
func acceptedRisks(extra *expression.Map) []journal.Risk {
	given := func(name string) bool {
		value, _ := extra.Get(name)
		switch v := value.(type) {
		case bool:
			return v
		case string:
			return v != "" && v != "false" && v != "no"
		}
		return false
	}
	var risks []journal.Risk
	down, _ := extra.Get("accept_down")
	names, _ := down.([]any)
	for _, name := range names {
		risks = append(risks, journal.Risk{Flag: fmt.Sprintf("--accept-down %v", name), Accepts: fmt.Sprintf("server %v is dead, and the run goes on while the others are a majority", name)})
	}
	accepted, _ := extra.Get("accept_notes")
	notes, _ := accepted.([]any)
	for _, id := range notes {
		risks = append(risks, journal.Risk{Flag: fmt.Sprintf("--accept-note %v", id), Accepts: "what this upgrade note of Nomad speaks of stays as it is (docs/version-notes.md)"})
	}
	for _, risk := range []struct{ variable, flag, accepts string }{
		{"accept_outage", "--accept-outage", "the control plane pauses, because there is no spare vote"},
		{"skip_unreachable", "--skip-unreachable", "clients that cannot be reached are left as they are"},
		{"allow_leave", "--allow-leave", "a server may leave raft when it stops, where no signal is safe"},
		{"allow_unsupported_skip", "--allow-unsupported-skip", "more than two minor versions are skipped, which Nomad does not support"},
	} {
		if given(risk.variable) {
			risks = append(risks, journal.Risk{Flag: risk.flag, Accepts: risk.accepts})
		}
	}
	if deadline, found := extra.Get("drain_deadline"); found && deadline != nil {
		risks = append(risks, journal.Risk{Flag: "--drain-deadline", Accepts: fmt.Sprintf("%v seconds after its drain began, what is left on a client is stopped, wherever it runs then", deadline)})
	}
	if signal, _ := extra.Get("stop_signal"); signal == "KILL" {
		risks = append(risks, journal.Risk{Flag: "--stop-signal KILL", Accepts: "agents are stopped with SIGKILL"})
	}
	return risks
}

// binariesHashed bounds how many files of --binary-dir are hashed.
const binariesHashed = 4

// givenBinaries hashes the files that --binary names, or that --binary-dir has of the version.
func givenBinaries(extra *expression.Map) ([]journal.Binary, error) {
	text := func(name string) string {
		value, _ := extra.Get(name)
		given, _ := value.(string)
		return given
	}
	var paths []string
	if file := text("binary"); file != "" {
		paths = append(paths, file)
	}
	if dir, version := text("binary_dir"), text("version"); dir != "" && version != "" {
		found, err := filepath.Glob(filepath.Join(dir, "*"+version+"*"))
		if err != nil {
			return nil, fmt.Errorf("look for Nomad %s in %s: %w", version, dir, err)
		}
		paths = append(paths, found[:min(len(found), binariesHashed)]...)
	}
	var binaries []journal.Binary
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil || !info.Mode().IsRegular() {
			continue // whoever needs it says so with more words
		}
		sum, err := hashFile(path)
		if err != nil {
			return nil, err
		}
		binaries = append(binaries, journal.Binary{Path: path, SHA256: sum})
	}
	return binaries, nil
}

func hashFile(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	digest := sha256.New()
	if _, err := io.Copy(digest, file); err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	return hex.EncodeToString(digest.Sum(nil)), nil
}
