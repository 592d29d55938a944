// SPDX-License-Identifier: MPL-2.0

package executor

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"drover/internal/event"
	"drover/internal/expression"
	"drover/internal/modules"
)

// outcome is what came of a task on one host.
type outcome struct {
	host     string
	delegate string // "": the host itself
	item     string
	status   event.Status
	changed  bool
	ignored  bool
	refused  bool
	message  string
	diff     string
	data     *expression.Map // what register gets
	facts    *expression.Map
	set      *expression.Map // variables that beat the play's: set_fact
	groups   []string
	notify   []string // names of handlers, when something changed
	hidden   bool     // no_log
	private  bool     // the module says that its data is not to be shown
	items    []any    // the results of a loop's items
}

func (o *outcome) bad() bool { return o.status == event.Failed || o.status == event.Unreachable }

// fails reports a failure that nothing allows: the host takes no further step.
func (o *outcome) fails() bool { return o.bad() && !o.ignored }

func skipped(reason string) *outcome {
	return &outcome{status: event.Skipped, message: reason, data: expression.MapOf("changed", false, "skipped", true, "skip_reason", reason)}
}

func failure(err error) *outcome {
	return &outcome{
		status: event.Failed, message: err.Error(), refused: isRefusal(err),
		data: expression.MapOf("changed", false, "failed", true, "msg", err.Error()),
	}
}

// unreachable tells the reason without the host's name, which stands beside it everywhere. A module that knows more than that the
// connection was lost (what state it left, what to do next) has said so around lost.
func unreachable(target string, lost *modules.Unreachable, err error) *outcome {
	reason := err.Error()
	if err == error(lost) && lost.Host == target { //nolint:errorlint // whether it is the error itself, not what it wraps
		reason = lost.Err.Error()
	}
	return &outcome{
		status: event.Unreachable, message: reason,
		data: expression.MapOf("changed", false, "unreachable", true, "msg", reason),
	}
}

// isRefusal finds errors by which a module says that it did nothing because that would not have been safe.
func isRefusal(err error) bool {
	var refusal interface{ Refused() bool }
	return errors.As(err, &refusal) && refusal.Refused()
}

// finished turns what a module returned into an outcome, before changed_when and failed_when.
func finished(target string, module *modules.Module, result *modules.Result, err error) *outcome {
	var lost *modules.Unreachable
	if errors.As(err, &lost) && lost.Host == target {
		return unreachable(target, lost, err)
	}
	if result == nil {
		result = &modules.Result{}
	}
	o := &outcome{
		status: event.OK, changed: result.Changed, message: result.Message, diff: result.Diff,
		groups: result.Groups, private: result.Secret, refused: isRefusal(err),
	}
	switch {
	case err != nil:
		// The host's name stands beside every message.
		o.status, o.message = event.Failed, strings.TrimPrefix(err.Error(), target+": ")
	case result.Failed:
		o.status = event.Failed
	case result.Skipped:
		o.status = event.Skipped
	}
	if module.Name == setFact {
		o.set = settled(result.Facts)
	} else {
		o.facts = settled(result.Facts)
	}
	o.register(settled(result.Data), result)
	return o
}

// setFact is the one module whose facts are decisions of the playbook rather than observations: they beat the play's vars.
const setFact = "set_fact"

func (o *outcome) register(data *expression.Map, result *modules.Result) {
	o.data = expression.NewMap()
	o.data.Set("changed", o.changed)
	o.data.Set("failed", o.status == event.Failed)
	if o.status == event.Skipped {
		o.data.Set("skipped", true)
	}
	if o.message != "" {
		o.data.Set("msg", o.message)
	}
	if result.Diff != "" {
		o.data.Set("diff", result.Diff)
	}
	if result.Facts.Len() > 0 {
		o.data.Set("ansible_facts", settled(result.Facts))
	}
	for key, value := range data.All() {
		if _, taken := o.data.Get(key); !taken {
			o.data.Set(key, value)
		}
	}
}

// settled makes a module's data safe to keep; what cannot be kept is replaced by the reason.
func settled(data *expression.Map) *expression.Map {
	if data == nil {
		return nil
	}
	kept := expression.NewMap()
	for key, value := range data.All() {
		settledValue, err := settle(expression.FromGo(value))
		if err != nil {
			settledValue = err.Error()
		}
		kept.Set(key, settledValue)
	}
	return kept
}

// put changes one key of the registered result.
func (o *outcome) put(key string, value any) { o.data.Set(key, value) }

func (o *outcome) setFailed(failed bool, message string) {
	switch {
	case failed:
		o.status = event.Failed
		if o.message == "" {
			o.message = message
			o.put("msg", message)
		}
	case o.status == event.Failed:
		o.status = event.OK
	}
	o.put("failed", failed)
}

func (o *outcome) setChanged(changed bool) {
	o.changed = changed
	o.put("changed", changed)
}

// censored is what replaces a result that no_log hides.
const censored = "hidden, because no_log is set for this task"

// event tells the outcome, with nothing in it that is not to be shown.
func (o *outcome) event(kind event.Kind) event.Event {
	e := event.Event{
		Kind: kind, Host: o.host, Delegate: o.delegate, Item: o.item, Status: o.status, Changed: o.changed, Ignored: o.ignored,
		Message: o.message, Diff: o.diff, Result: o.data,
	}
	switch {
	case o.hidden:
		e.Diff, e.Result = "", expression.MapOf("censored", censored)
		if e.Message != "" {
			e.Message = censored
		}
		if e.Item != "" {
			e.Item = censored
		}
	case o.private:
		e.Diff, e.Result = "", nil
	}
	return e
}

// ended explains why a module's context is done: the task's timeout, or the person who pressed Ctrl-C twice.
func ended(ctx context.Context, module string, err error) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	return fmt.Errorf("module %s: %w (%w)", module, context.Cause(ctx), err)
}

// plain turns an undefined value into an absent one.
func plain(value any, ok bool) (any, bool) {
	if _, undefined := value.(expression.Undefined); undefined {
		return nil, false
	}
	return value, ok
}
