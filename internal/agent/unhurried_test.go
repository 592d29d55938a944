// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"context"
	"strings"
	"testing"
)

func TestUnhurriedWorkAndItsProgramsHaveLowPriority(t *testing.T) {
	got, err := unhurried(func() (outcome, error) {
		return command{argv: []string{"nice"}, limit: 100}.execute(context.Background())
	})
	if err != nil {
		t.Fatal(err)
	}
	if nice := strings.TrimSpace(got.stdout); nice != "10" {
		t.Errorf("a program started by unhurried work has nice %q", nice)
	}
	got, err = command{argv: []string{"nice"}, limit: 100}.execute(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if nice := strings.TrimSpace(got.stdout); nice == "10" {
		t.Error("the priority stayed low after the work")
	}
}

func TestUnhurriedPanicIsAnError(t *testing.T) {
	if _, err := unhurried(func() (int, error) { panic("boom") }); err == nil || !strings.Contains(err.Error(), "boom") {
		t.Errorf("got %v", err)
	}
}
