// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"drover/internal/console"
	"drover/internal/event"
	"drover/internal/expression"
	"drover/internal/printable"
	"drover/playbooks"
)

// survey runs a ready playbook that only looks, and decodes what one of its modules returned. A module that returned its
// result has done its work, whatever it found; without one the error says what went wrong on which host.
func (p *playFlags) survey(ctx context.Context, fl *fleet, name, module, key string, vars *expression.Map, into any) error {
	book, _, err := playbooks.LoadLibrary(name, playbooks.Options{})
	if err != nil {
		return err
	}
	taken := &taker{
		module: module, key: key,
		talk: console.Lines(io.Discard, fl.s.err, p.lines(fl.s)),
	}
	sink, done := console.Waiting(taken, fl.s.err, p.lines(fl.s))
	defer done()
	// Nothing has to be finished where nothing is changed, so the first interrupt ends a survey at once.
	summary, err := p.carryOut(context.WithValue(ctx, abortKey{}, ctx), fl, book, vars, sink)
	done()
	switch {
	case err != nil:
		return err
	case summary.Interrupted:
		return fl.verdict(summary)
	case fl.locked.Load() != nil:
		return fl.lockedElsewhere()
	case taken.result != nil:
		return json.Unmarshal(taken.result, into)
	}
	fmt.Fprint(fl.s.err, taken.failures)
	if err := fl.verdict(summary); err != nil {
		return err
	}
	return errors.New("the survey ended without a result")
}

// taker shows only the talk of a run, and keeps the result of one module.
type taker struct {
	module   string
	key      string // of the result; a task that could not be done has none
	talk     event.Sink
	result   []byte
	failures string
}

func (t *taker) Emit(e event.Event) error {
	if e.Kind == event.HostResult && e.Module == t.module {
		if err := t.take(e.Result); err != nil {
			return fmt.Errorf("read the result of %s: %w", t.module, err)
		}
	}
	if e.Kind == event.HostResult && (e.Status == event.Failed || e.Status == event.Unreachable) {
		t.failures += fmt.Sprintf("%s: %s: %s\n", e.Host, e.Status, printable.Text(e.Message))
	}
	if e.Kind == event.RunEnd {
		return nil // what stopped the run, if anything did, is part of the answer, or among the failures
	}
	return t.talk.Emit(e)
}

func (t *taker) take(result any) error {
	text, err := json.Marshal(result)
	if err != nil {
		return err
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(text, &keys); err != nil {
		return err
	}
	if keys[t.key] != nil {
		t.result = keys[t.key]
	}
	return nil
}
