// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"errors"
	"fmt"
	"time"

	"drover/internal/expression"
	"drover/internal/wait"
)

func pauseModule() Module {
	return Module{
		Name:  "pause",
		Short: "Wait for some time",
		Doc: "Waits. Waiting for a person is not possible: drover asks nothing while it runs, so that a run never hangs unseen. " +
			"To wait until something is so, use until or wait_for, which end as soon as it is.",
		Args: []Arg{
			{Name: "seconds", Kind: Number, Doc: "How long."},
			{Name: "minutes", Kind: Number, Doc: "How long."},
			{Name: "prompt", Kind: String, Doc: "Refused when no time is given; else shown while waiting."},
			{Name: "echo", Kind: Boolean, Default: true, Doc: "Accepted for Ansible's sake."},
		},
		Exclusive: [][]string{{"seconds", "minutes"}},
		Check:     CheckSkipped,
		Local:     true,
		Idle:      true,
		Returns: []Arg{
			{Name: "start", Kind: String, Doc: "When it began."},
			{Name: "stop", Kind: String, Doc: "When it ended."},
			{Name: "delta", Kind: Integer, Doc: "Whole seconds that passed."},
		},
		Example: `- pause:
    seconds: 30`,
		Run: pause,
	}
}

// longestPause bounds a wait whose unit was mistyped.
const longestPause = 24 * time.Hour

func pause(ctx context.Context, call *Call) (*Result, error) {
	d := time.Duration(call.Args.Float("seconds") * float64(time.Second))
	if call.Args.Has("minutes") {
		d = time.Duration(call.Args.Float("minutes") * float64(time.Minute))
	}
	switch {
	case !call.Args.Has("seconds") && !call.Args.Has("minutes"):
		return nil, errors.New("pause would wait for a person: give seconds or minutes, or end the play here with fail")
	case d < 0 || d > longestPause:
		return nil, fmt.Errorf("pause of %s: it must be between 0 and 24 hours", d)
	}
	reason := call.Args.String("prompt")
	if reason == "" {
		reason = "pausing"
	}
	call.Say("%s (%s)", reason, d)
	start := time.Now()
	if err := wait.For(ctx, d); err != nil {
		return nil, fmt.Errorf("pause of %s: %w", d, err)
	}
	stop := time.Now()
	return &Result{Data: expression.MapOf(
		"start", clock(start.UTC()), "stop", clock(stop.UTC()), "delta", int64(stop.Sub(start)/time.Second),
		"stdout", fmt.Sprintf("Paused for %.2f seconds", d.Seconds()), "stderr", "", "rc", int64(0),
	)}, nil
}
