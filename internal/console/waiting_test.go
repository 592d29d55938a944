// SPDX-License-Identifier: MPL-2.0

package console

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"drover/internal/event"
)

type nowhere struct{}

func (nowhere) Emit(event.Event) error { return nil }

func TestWaitingNamesThoseThatKeepSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var talk bytes.Buffer
		sink, stop := Waiting(nowhere{}, &talk, Options{})
		say := func(after time.Duration, e event.Event) {
			time.Sleep(after)
			if err := sink.Emit(e); err != nil {
				t.Fatal(err)
			}
		}
		say(5*time.Second, event.Event{Kind: event.PlayStart, Batch: []string{"a", "b", "c", "d", "e", "f", "g", "h"}})
		say(5*time.Second, event.Event{Kind: event.TaskStart})
		say(time.Second, event.Event{Kind: event.HostStart, Host: "a"})
		say(1500*time.Millisecond, event.Event{Kind: event.HostResult, Host: "a"})
		say(2500*time.Millisecond, event.Event{Kind: event.HostResult, Host: "b", Status: event.Unreachable})
		say(5*time.Second, event.Event{Kind: event.HostStart, Host: "c"})
		say(15*time.Second, event.Event{Kind: event.HostWait, Host: "c", Message: "a leader"})
		say(5*time.Second, event.Event{Kind: event.HostResult, Host: "c"})
		say(0, event.Event{Kind: event.RunEnd})
		time.Sleep(time.Minute)
		stop()
		want := `  ... still reaching c, d, e, f, g and 1 more (8s)
  ... waiting for c (13s)
  ... waiting for c (23s)
  ... [c] still: a leader (28s)
`
		if diff := cmp.Diff(want, talk.String()); diff != "" {
			t.Error(diff)
		}
	})
}
