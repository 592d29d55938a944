// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"drover/internal/nomad"
	"drover/internal/wire"
)

func TestLookFailure(t *testing.T) {
	lost := func(err error) error { return fmt.Errorf("ask: %w", &Unreachable{Host: "c1", Err: err}) }
	tests := map[string]struct {
		err  error
		want nomad.LookFailure
	}{
		"no connection": {lost(errors.New("connect to 10.0.0.1:22: no answer")), nomad.LookFailure{Kind: "unreachable", Text: "connect to 10.0.0.1:22: no answer"}},
		"an obstacle": {
			lost(&Obstacle{Kind: ObstacleSudoWrong, What: "sudo refused the password", Remedy: "check -K"}),
			nomad.LookFailure{Kind: "sudo_wrong", Text: "sudo refused the password", Remedy: "check -K"},
		},
		"an obstacle on the way": {
			lost(fmt.Errorf("jump host j1: %w", &Obstacle{Kind: ObstacleHostKeyUnknown, What: "the key is unknown", Remedy: "give --accept-new"})),
			nomad.LookFailure{Kind: "host_key_unknown", Text: "jump host j1: the key is unknown", Remedy: "give --accept-new"},
		},
		"what the agent says": {
			fmt.Errorf("look at nomad.service: %w", &wire.Error{Kind: wire.KindInvalid, Message: "it is masked", Hint: "systemctl unmask nomad.service"}),
			nomad.LookFailure{Kind: "other", Text: "look at nomad.service: it is masked", Remedy: "systemctl unmask nomad.service"},
		},
		"another run": {
			&wire.Error{Kind: wire.KindLocked, Message: "held by ann"},
			nomad.LookFailure{Kind: "locked", Text: "held by ann", Remedy: "wait until that run has ended"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, lookFailure(test.err)); diff != "" {
				t.Errorf("failure (-want +got):\n%s", diff)
			}
		})
	}
}
