// SPDX-License-Identifier: MPL-2.0

package executor

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"drover/internal/event"
	"drover/internal/expression"
	"drover/internal/modules"
	"drover/internal/nearest"
	"drover/playbooks"
)

// job is one task on one host.
type job struct {
	run    *run
	play   *playRun
	view   *view
	task   *playbooks.Task
	module *modules.Module
	name   string // of the task, rendered
	host   string
	scope  *scope
}

// do runs the task, with its loop, and always returns an outcome.
func (j *job) do() (out *outcome) {
	defer func() {
		// A mistake in one module must not end the run while other hosts are in the middle of a change.
		if r := recover(); r != nil {
			out = failure(fmt.Errorf("module %s ended in a panic, which is a bug in drover: %v\n%s", j.module.Name, r, debug.Stack()))
			out.hidden = j.secretive()
		}
		out.host = j.host
	}()
	if j.task.Loop == nil {
		return j.item(j.scope, "")
	}
	out = j.loop()
	if len(out.items) == 0 {
		j.forgive(j.scope, out)
	}
	return out
}

// secretive tells whether no_log may be set; where that cannot be found out, it is.
func (j *job) secretive() bool {
	hidden, err := j.scope.boolean("no_log", j.task.NoLog, false)
	return hidden || err != nil
}

// item runs the task once: for one item of its loop, or as a whole.
func (j *job) item(s *scope, label string) *outcome {
	out, k := j.prepareAndTry(s, label)
	out.host, out.item = j.host, label
	out.hidden = k.noLog
	if k.delegate != "" {
		out.delegate = k.delegate
	}
	j.forgive(s, out)
	if !k.diff {
		out.diff = ""
	}
	return out
}

// forgive lets a failure pass where ignore_errors or ignore_unreachable says so.
func (j *job) forgive(s *scope, out *outcome) {
	keyword, value := "ignore_errors", j.task.IgnoreErrors
	switch out.status {
	case event.Failed:
	case event.Unreachable:
		keyword, value = "ignore_unreachable", j.task.IgnoreUnreachable
	case event.OK, event.Skipped:
		return
	}
	ignored, err := s.boolean(keyword, value, false)
	out.ignored = ignored
	if err != nil {
		out.message += fmt.Sprintf(" (and %v)", err)
	}
}

func (j *job) prepareAndTry(s *scope, label string) (*outcome, *keywords) {
	k := &keywords{noLog: true}
	hidden, err := s.boolean("no_log", j.task.NoLog, false)
	if err != nil {
		return failure(err), k
	}
	k.noLog = hidden
	yes, condition, err := s.holds(j.task.When)
	if err != nil {
		return failure(fmt.Errorf("when: %w", err)), k
	}
	if !yes {
		out := skipped("Conditional result was False")
		out.message = ""
		out.put("false_condition", condition)
		return out, k
	}
	if err := k.render(j, s); err != nil {
		return failure(err), k
	}
	if k.check && j.module.Check == modules.CheckSkipped {
		return skipped("cannot be predicted in check mode"), k
	}
	call, err := j.call(s, k)
	if err != nil {
		return failure(err), k
	}
	notify, err := j.notifications(s)
	if err != nil {
		return failure(err), k
	}
	out := j.start(s, k, call, label)
	if out.changed {
		out.notify = notify
	}
	return out, k
}

// start connects, records that the task begins and runs it.
func (j *job) start(s *scope, k *keywords, call *modules.Call, label string) *outcome {
	if !j.module.Local {
		host, err := j.run.connect(j.run.hard, j.view, account{k.target, k.become, k.becomeUser, k.remoteUser})
		var lost *modules.Unreachable
		switch {
		case errors.As(err, &lost):
			return unreachable(k.target, lost, lost)
		case err != nil:
			out := failure(err)
			out.message = strings.TrimPrefix(out.message, k.target+": ") // the host's name stands beside it
			out.put("msg", out.message)
			return out
		}
		call.Host = host
	}
	begin := event.Event{Kind: event.HostStart, Host: j.host, Delegate: k.delegate, Item: label}
	if k.noLog && label != "" {
		begin.Item = censored
	}
	if err := j.emit(begin); err != nil {
		return failure(fmt.Errorf("not started, because it could not be recorded: %w", err))
	}
	out := j.try(s, k, call)
	if out.status == event.Unreachable {
		j.run.connections.forget(k.target)
	}
	return out
}

// call prepares the module's arguments; whatever is wrong with them is found before the host is touched.
func (j *job) call(s *scope, k *keywords) (*modules.Call, error) {
	values, err := j.arguments(s)
	if err != nil {
		return nil, err
	}
	for name, value := range values {
		arg, known := j.module.Arg(name)
		if text, ok := value.(string); ok && known && arg.Secret {
			j.run.record.secrets.Keep(text)
		}
	}
	args, err := j.module.Decode(values)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", j.task.At, err)
	}
	shared := &sharedScope{scope: s}
	return &modules.Call{
		Name: j.host, Args: args, Check: k.check, Diff: k.diff, Become: k.become, Environment: k.environment, Run: j.run.Run,
		Interrupted: j.run.soft.Done(),
		Fleet:       fleet{j.run, j.view}, Vars: shared, Evaluate: shared.evaluate, Files: j.run.Files,
		Say: func(format string, values ...any) {
			wait := event.Event{Kind: event.HostWait, Host: j.host, Delegate: k.delegate, Message: fmt.Sprintf(format, values...)}
			if k.noLog {
				wait.Message = censored
			}
			_ = j.emit(wait) // the recorder has stopped the run when this fails
		},
	}, nil
}

// arguments renders what the task gives to its module; what renders to omit is not given.
func (j *job) arguments(s *scope) (map[string]any, error) {
	values := map[string]any{}
	if j.task.ArgsAll != nil {
		all, err := s.render(j.task.ArgsAll)
		if err != nil {
			return nil, fmt.Errorf("args: %w", err)
		}
		dictionary, ok := all.(*expression.Map)
		if !ok {
			return nil, fmt.Errorf("%s: args: needs a dictionary", j.task.ArgsAll.At)
		}
		for name, value := range dictionary.All() {
			values[name] = value
		}
	}
	for name, value := range j.task.Args {
		rendered, err := j.argument(s, name, value)
		if err != nil {
			return nil, fmt.Errorf("argument %s: %w", name, err)
		}
		if !j.run.isOmit(rendered) {
			values[name] = rendered
		}
	}
	return values, nil
}

func (j *job) argument(s *scope, name string, value *playbooks.Value) (any, error) {
	if arg, ok := j.module.Arg(name); ok && arg.Kind == modules.Raw {
		return rawArgument(value), nil
	}
	return s.render(value)
}

// rawArgument returns expressions as text, since the module evaluates them.
func rawArgument(value *playbooks.Value) any {
	switch value.Form {
	case playbooks.FormTemplate:
		return value.Template.Source()
	case playbooks.FormList:
		list := make([]any, len(value.Items))
		for i, item := range value.Items {
			list[i] = rawArgument(item)
		}
		return list
	case playbooks.FormDict:
		dictionary := expression.NewMap()
		for _, pair := range value.Pairs {
			dictionary.Set(pair.Key, rawArgument(pair.Value))
		}
		return dictionary
	}
	return expression.FromGo(value.Static)
}

// notifications renders the names of the handlers before anything is touched, so that a wrong one leaves nothing half done.
func (j *job) notifications(s *scope) ([]string, error) {
	var names []string
	for _, value := range j.task.Notify {
		rendered, err := s.render(value)
		if err != nil {
			return nil, fmt.Errorf("notify: %w", err)
		}
		list, ok := rendered.([]any)
		if !ok {
			list = []any{rendered}
		}
		for _, item := range list {
			name, ok := item.(string)
			if !ok {
				return nil, fmt.Errorf("%s: notify: %v is not the name of a handler", value.At, item)
			}
			if !j.play.knowsHandler(name) {
				return nil, fmt.Errorf("%s: notify: no handler is named %q%s", value.At, name, suggestion(name, j.play.handlerNames()))
			}
			names = append(names, name)
		}
	}
	return names, nil
}

// suggestion is "; did you mean ...?", or nothing.
func suggestion(name string, among []string) string {
	if hint := nearest.Hint(name, among); hint != "" {
		return "; " + hint
	}
	return ""
}

// emit records an event with the task it belongs to.
func (j *job) emit(e event.Event) error {
	e.Play, e.Task, e.Module = j.view.name, j.name, j.module.Name
	e.File = place(j.task)
	return j.run.record.emit(e)
}

// place is "file:line" of a task.
func place(task *playbooks.Task) string { return fmt.Sprintf("%s:%d", task.At.File, task.At.Line) }

// seconds turns a number of seconds of the playbook into a duration.
func seconds(number float64) time.Duration { return time.Duration(number * float64(time.Second)) }
