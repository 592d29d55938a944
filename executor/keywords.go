// SPDX-License-Identifier: MPL-2.0

package executor

import (
	"errors"
	"fmt"
	"time"

	"drover/internal/expression"
	"drover/playbooks"
)

// keywords are what a task's keywords say for one host and one item.
type keywords struct {
	become      bool
	becomeUser  string
	remoteUser  string
	noLog       bool
	check       bool
	diff        bool
	timeout     time.Duration // 0: none
	delegate    string        // as written; "": none
	target      string        // the host that does it
	environment map[string]string
}

func (k *keywords) render(j *job, s *scope) error {
	task, options := j.task, j.run.Options
	var problems []error
	for _, keyword := range []struct {
		name     string
		value    *playbooks.Value
		into     *bool
		fallback bool
	}{
		{"become", task.Become, &k.become, options.Become},
		{"check_mode", task.CheckMode, &k.check, options.Check},
		{"diff", task.Diff, &k.diff, options.Diff},
	} {
		value, err := s.boolean(keyword.name, keyword.value, keyword.fallback)
		*keyword.into = value
		problems = append(problems, err)
	}
	limit, err := s.number("timeout", task.Timeout, 0)
	k.timeout = seconds(limit)
	problems = append(problems, err)
	if k.becomeUser, err = s.text("become_user", task.BecomeUser); k.becomeUser == "" {
		k.becomeUser = options.BecomeUser
	}
	problems = append(problems, err)
	k.remoteUser, err = s.text("remote_user", task.RemoteUser)
	problems = append(problems, err, k.delegation(j, s))
	k.environment, err = environment(s, task.Environment)
	problems = append(problems, err)
	return errors.Join(problems...)
}

// delegation finds the host that does the task.
func (k *keywords) delegation(j *job, s *scope) error {
	name, err := s.text("delegate_to", j.task.DelegateTo)
	if err != nil {
		return err
	}
	k.delegate, k.target = name, name
	switch {
	case name == "":
		k.target = j.host
	case j.module.Local, j.run.store.has(name):
	case name == "localhost" || name == "127.0.0.1":
		return fmt.Errorf("%s: module %s works on a host over SSH and cannot be delegated to localhost; there run only modules that need no host, such as assert, debug, set_fact and pause",
			j.task.DelegateTo.At, j.module.Name)
	default:
		return fmt.Errorf("%s: delegate_to: %w", j.task.DelegateTo.At, j.run.unknownHost(name))
	}
	return nil
}

// environment renders the variables for the processes of a task; a value that renders to omit or null is not set.
func environment(s *scope, value *playbooks.Value) (map[string]string, error) {
	rendered, given, err := s.optional(value)
	if err != nil || !given {
		return nil, err
	}
	dictionary, ok := rendered.(*expression.Map)
	if !ok {
		return nil, fmt.Errorf("%s: environment: needs a dictionary", value.At)
	}
	variables := make(map[string]string, dictionary.Len())
	for name, item := range dictionary.All() {
		switch v := item.(type) {
		case nil:
		case string:
			variables[name] = v
		case bool, int64, float64:
			variables[name] = fmt.Sprint(v)
		default:
			return nil, fmt.Errorf("%s: environment: %s must be text", value.At, name)
		}
	}
	return variables, nil
}
