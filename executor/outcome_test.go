// SPDX-License-Identifier: MPL-2.0

package executor

import (
	"errors"
	"testing"

	"drover/internal/event"
	"drover/internal/modules"
)

// TestMessagesNameTheHostOnce: every line of a run begins with the host already.
func TestMessagesNameTheHostOnce(t *testing.T) {
	cut := errors.New("cut")
	cases := map[string]struct {
		err    error
		status event.Status
		want   string
	}{
		"failed":                {errors.New("s1: no space left"), event.Failed, "no space left"},
		"failed over another":   {errors.New("s2: no space left"), event.Failed, "s2: no space left"},
		"unreachable":           {&modules.Unreachable{Host: "s1", Err: cut}, event.Unreachable, "cut"},
		"another is not":        {&modules.Unreachable{Host: "s2", Err: cut}, event.Failed, "s2: cut"},
		"name that begins same": {errors.New("s10: full"), event.Failed, "s10: full"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			out := finished("s1", &modules.Module{Name: "x"}, nil, c.err)
			if out.status != c.status || out.message != c.want {
				t.Errorf("%s %q, want %s %q", out.status, out.message, c.status, c.want)
			}
		})
	}
}
