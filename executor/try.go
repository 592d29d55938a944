// SPDX-License-Identifier: MPL-2.0

package executor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"drover/internal/event"
	"drover/internal/modules"
	"drover/internal/wait"
)

// How often `until` tries, and how long it waits in between, when the task does not say: Ansible's figures.
const (
	defaultTries = 3
	defaultDelay = 5 // seconds
)

// try runs the module, again and again while `until` is not met.
func (j *job) try(s *scope, k *keywords, call *modules.Call) *outcome {
	tries, delay, err := j.patience(s)
	if err != nil {
		return failure(err)
	}
	for attempt := 1; ; attempt++ {
		out := j.once(k, call)
		if out.status == event.Unreachable {
			return out
		}
		after := s
		if j.task.Register != "" {
			after = s.with(map[string]any{j.task.Register: out.data})
		}
		j.judge(after, out)
		if tries == 0 {
			return out
		}
		out.put("attempts", int64(attempt))
		met, err := j.met(after, out)
		switch {
		case err != nil:
			out.setFailed(true, "")
			out.message = fmt.Sprintf("until: %v", err)
			out.put("msg", out.message)
			return out
		case met:
			return out
		case attempt >= tries:
			out.setFailed(true, fmt.Sprintf("until was not met in %d tries", tries))
			return out
		}
		if err := j.again(k, out, attempt, tries, delay); err != nil {
			return failure(err)
		}
	}
}

// patience returns how many times to try (0: once, without until) and how long to wait in between.
func (j *job) patience(s *scope) (tries int, delay time.Duration, err error) {
	if len(j.task.Until) == 0 && j.task.Retries == nil {
		return 0, 0, nil
	}
	retries, err := s.number("retries", j.task.Retries, defaultTries-1)
	if err != nil {
		return 0, 0, err
	}
	pause, err := s.number("delay", j.task.Delay, defaultDelay)
	if err != nil {
		return 0, 0, err
	}
	// As in Ansible, retries: 4 means one try and four more.
	return int(retries) + 1, seconds(pause), nil
}

// met tells whether the task need not be tried again; retries without until means until it does not fail.
func (j *job) met(s *scope, out *outcome) (bool, error) {
	if len(j.task.Until) == 0 {
		return out.status != event.Failed, nil
	}
	met, _, err := s.holds(j.task.Until)
	return met, err
}

// again says that there will be another try, and waits for its time.
func (j *job) again(k *keywords, out *outcome, attempt, tries int, delay time.Duration) error {
	why := ""
	if out.message != "" && !k.noLog {
		why = ": " + out.message
	}
	err := j.emit(event.Event{
		Kind: event.HostRetry, Host: j.host, Delegate: k.delegate,
		Message: fmt.Sprintf("try %d of %d, next in %v%s", attempt, tries, delay, why),
	})
	if err != nil {
		return fmt.Errorf("not tried again, because it could not be recorded: %w", err)
	}
	if wait.For(j.run.soft, delay) != nil {
		return fmt.Errorf("try %d of %d was not met: %w", attempt, tries, context.Cause(j.run.soft))
	}
	return nil
}

// errInterrupted is the failure of a module that only waited when the run was interrupted.
var errInterrupted = errors.New("interrupted while it waited")

// once runs the module one time, within the task's timeout.
func (j *job) once(k *keywords, call *modules.Call) *outcome {
	ctx := j.run.hard
	if j.module.Idle {
		ctx = j.run.soft
	}
	if k.timeout > 0 {
		limited, cancel := context.WithTimeoutCause(ctx, k.timeout, fmt.Errorf("the task's timeout of %v ran out", k.timeout))
		defer cancel()
		ctx = limited
	}
	result, err := j.module.Run(ctx, call)
	if err != nil && j.module.Idle && j.run.soft.Err() != nil {
		err = errInterrupted
	} else {
		err = ended(ctx, j.module.Name, err)
	}
	return finished(k.target, j.module, result, err)
}

// judge applies changed_when and failed_when.
func (j *job) judge(s *scope, out *outcome) {
	var problems []error
	if len(j.task.ChangedWhen) > 0 {
		changed, _, err := s.holds(j.task.ChangedWhen)
		if err != nil {
			problems = append(problems, fmt.Errorf("changed_when: %w", err))
		} else {
			out.setChanged(changed)
		}
	}
	if len(j.task.FailedWhen) > 0 {
		failed, _, err := s.holds(j.task.FailedWhen)
		if err != nil {
			problems = append(problems, fmt.Errorf("failed_when: %w", err))
		} else {
			out.setFailed(failed, "failed_when is true")
		}
	}
	if err := errors.Join(problems...); err != nil {
		out.setFailed(true, "")
		out.message = err.Error()
		out.put("msg", out.message)
	}
}
