// SPDX-License-Identifier: MPL-2.0

package main

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"drover/internal/event"
	"drover/internal/nomad"
)

func TestSkippedHostsAreToldAndCounted(t *testing.T) {
	skipped := nomad.Problem{Host: "c7", Kind: "unreachable", Text: "unreachable: connect to 10.0.0.7:22: no answer"}
	dead := nomad.Problem{Host: "s3", Kind: nomad.KindAcceptedDown, Text: "accepted as dead"}
	failed, refused := &exit{code: exitFailed}, &exit{code: exitRefused}
	tests := map[string]struct {
		left  []nomad.Problem
		ended error
		want  int
	}{
		"nobody skipped":                     {nil, nil, exitOK},
		"one skipped, all else went well":    {[]nomad.Problem{skipped}, nil, exitUnreachable},
		"one skipped, another failed":        {[]nomad.Problem{skipped}, failed, exitFailed | exitUnreachable},
		"one skipped, the run was refused":   {[]nomad.Problem{skipped}, refused, exitRefused},
		"a server that was accepted as dead": {[]nomad.Problem{dead}, nil, exitOK},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			code := exitOK
			var how *exit
			if err := leftBehind(&nomad.Plan{NotUpgraded: test.left}, test.ended); errors.As(err, &how) {
				code = how.code
			}
			if code != test.want {
				t.Errorf("exit code %d, want %d", code, test.want)
			}
		})
	}
	var told heard
	if err := tellNotUpgraded(&told, &nomad.Plan{NotUpgraded: []nomad.Problem{skipped, dead}}); err != nil {
		t.Fatal(err)
	}
	want := "c7: c7 was not upgraded: unreachable: connect to 10.0.0.7:22: no answer; s3: s3 was not upgraded: accepted as dead"
	if diff := cmp.Diff(want, strings.Join(told, "; ")); diff != "" {
		t.Error(diff)
	}
}

// heard are the events of a sink.
type heard []string

func (h *heard) Emit(e event.Event) error {
	*h = append(*h, e.Host+": "+e.Message)
	return nil
}

func TestAPlanThatCannotBeShownIsAnError(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	for _, output := range []string{"text", "json"} {
		if err := showPlan(streams{out: full}, output, &nomad.Plan{}); err == nil || !strings.Contains(err.Error(), "no space left on device") {
			t.Errorf("%s: got %v", output, err)
		}
	}
}
