// SPDX-License-Identifier: MPL-2.0

package main

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"drover/internal/event"
	"drover/internal/expression"
	"drover/internal/journal"
	"drover/internal/modules"
	"drover/internal/secret"
	"drover/internal/wire"
	"drover/inventory"
)

// maxOutput bounds what of a command's output is put on record, in bytes.
const maxOutput = 64 << 10

// execRecord is the record of one exec.
type execRecord struct {
	writer  *journal.Writer
	secrets *secret.Redactor
	run     string
	task    string
	hosts   []*inventory.Host

	mu      sync.Mutex
	tallies map[string]event.Tally
}

// record starts the record of an exec on hosts.
func (e *execCommand) record(fl *fleet, hosts []*inventory.Host, argv []string) (*execRecord, error) {
	shown := secret.Arguments(argv)
	text := strings.Join(shown, " ")
	m := e.fleet.manifest(fl, asked{command: "exec", target: text})
	m.Argv, m.Hosts = shown, hostNames(hosts)
	m.Options.Become, m.Options.BecomeUser = e.become, e.becomeUser
	for _, host := range fl.inventory.Hosts() {
		keepSecrets(fl.secrets, fl.inventory.Vars(host))
	}
	writer, err := fl.record(m)
	if err != nil {
		return nil, err
	}
	r := &execRecord{writer: writer, secrets: fl.secrets, run: fl.runID, task: fl.secrets.Clean(text), hosts: hosts, tallies: map[string]event.Tally{}}
	err = r.tell(event.Event{Kind: event.RunStart})
	if err == nil {
		err = r.tell(event.Event{Kind: event.PlayStart, Play: "exec", Batch: hostNames(hosts)})
	}
	if err == nil {
		err = r.tell(event.Event{Kind: event.TaskStart, Play: "exec", Task: r.task, Module: "command"})
	}
	return r, err
}

// keepSecrets keeps the values of variables that are named like secrets.
func keepSecrets(secrets *secret.Redactor, variables *expression.Map) {
	for name, value := range variables.All() {
		if text, ok := value.(string); ok && secret.Named(name) && !expression.IsTemplate(text) {
			secrets.Keep(text)
		}
	}
}

func (r *execRecord) tell(e event.Event) error {
	e.Version, e.Run, e.Time = 1, r.run, time.Now()
	if err := r.writer.Emit(e); err != nil || !e.Kind.Awaited() {
		return err
	}
	return r.writer.Commit()
}

// begins is on disk when it returns nil.
func (r *execRecord) begins(host string) error {
	err := r.tell(event.Event{Kind: event.HostStart, Play: "exec", Task: r.task, Module: "command", Host: host})
	if err != nil {
		return fmt.Errorf("not started, because it could not be recorded: %w", err)
	}
	return nil
}

// ended records what came of the command on a host.
func (r *execRecord) ended(host string, answer *wire.RunResult, err error) {
	e := event.Event{Kind: event.HostResult, Play: "exec", Task: r.task, Module: "command", Host: host}
	line := answerLine(host, answer, err)
	e.Status, e.Message = line.Status, r.secrets.Clean(line.Error)
	tally := event.Tally{Host: host}
	switch line.Status {
	case event.Unreachable:
		tally.Unreachable = 1
	case event.Failed:
		tally.Failed = 1
	default:
		tally.OK = 1
	}
	if answer != nil {
		e.Changed, e.Seconds = true, 0
		tally.Changed = 1
		e.Result = expression.MapOf("rc", int64(answer.RC), "stdout", r.output(answer.Stdout), "stderr", r.output(answer.Stderr))
		if answer.RC != 0 {
			e.Message = fmt.Sprintf("exit code %d", answer.RC)
		}
	}
	_ = r.tell(e) // the writer keeps the failure, and takes nothing more
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tallies[host] = tally
}

func (r *execRecord) output(text string) string {
	text = r.secrets.Clean(text)
	if len(text) > maxOutput {
		return strings.ToValidUTF8(text[:maxOutput], "") + fmt.Sprintf(" ... (%d bytes more)", len(text)-maxOutput)
	}
	return text
}

// close records the end.
func (r *execRecord) close(interrupted bool) error {
	end := event.Event{Kind: event.RunEnd, Outcome: event.Completed}
	r.mu.Lock()
	for _, host := range r.hosts {
		tally, ok := r.tallies[host.Name]
		if ok {
			end.Recap = append(end.Recap, tally)
		}
		if !ok || tally.Failed+tally.Unreachable > 0 {
			end.Outcome = event.Broken
		}
	}
	r.mu.Unlock()
	if interrupted {
		end.Outcome = event.Interrupted
	}
	_ = r.tell(end)
	return r.writer.Close()
}

// answerLine sums up what came of the command on a host.
func answerLine(host string, answer *wire.RunResult, err error) execAnswer {
	line := execAnswer{Host: host, Status: event.OK, RunResult: answer}
	var gone *modules.Unreachable
	switch {
	case errors.As(err, &gone):
		line.Status, line.Error = event.Unreachable, gone.Err.Error()
	case err != nil:
		line.Status, line.Error = event.Failed, err.Error()
	case answer.RC != 0:
		line.Status = event.Failed
	}
	return line
}
