// SPDX-License-Identifier: MPL-2.0

package console

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"drover/internal/event"
	"drover/internal/printable"
)

func TestLines(t *testing.T) {
	at := time.Unix(0, 0)
	events := []event.Event{
		{Kind: event.PlayStart, Play: "servers"},
		{Kind: event.BatchStart, Message: "1 of 2", Batch: []string{"s1"}},
		{Kind: event.TaskStart, Task: "swap"},
		{Kind: event.HostWait, Host: "s1", Message: "a leader", Time: at},
		{Kind: event.HostWait, Host: "s1", Message: "a leader", Time: at.Add(time.Second)},
		{Kind: event.HostWait, Host: "s1", Message: "a leader", Time: at.Add(11 * time.Second)},
		{Kind: event.HostResult, Host: "s1", Status: event.OK, Changed: true, Message: "1.10.5 -> 1.11.0"},
		{Kind: event.HostResult, Host: "s2", Delegate: "s1", Status: event.Skipped},
		{Kind: event.HostResult, Host: "s3", Status: event.Failed, Message: "no \x1b[2Jspace", Ignored: true},
		{Kind: event.HostResult, Host: "s4", Status: event.Unreachable, Message: "cut"},
		{Kind: event.RunEnd, Recap: []event.Tally{{Host: "s1", OK: 1, Changed: 1}}, Message: "done"},
	}
	var out, talk bytes.Buffer
	sink := Lines(&out, &talk, Options{Width: 20})
	for _, e := range events {
		if err := sink.Emit(e); err != nil {
			t.Fatal(err)
		}
	}
	want := `
PLAY [servers] *****

BATCH 1 of 2: s1

TASK [swap] ********
changed: [s1] => 1.10.5 -> 1.11.0
skipping: [s2 -> s1]
fatal: [s3]: FAILED! => no [2Jspace
...ignoring
fatal: [s4]: UNREACHABLE! => cut

PLAY RECAP *********
s1 : ok=1    changed=1    unreachable=0    failed=0    skipped=0    rescued=0    ignored=0
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff("  ... [s1] a leader\n  ... [s1] a leader\n\ndone\n", talk.String()); diff != "" {
		t.Errorf("talk (-want +got):\n%s", diff)
	}
}

func TestJSONKeepsHostsFromWritingEscapes(t *testing.T) {
	want := "a\x1b[31mb\x07\r\nc\td\u202ee\u009b1m\x00\x7f é\u061c\U000e0041"
	var out strings.Builder
	if err := NewEncoder(&out).Encode(want); err != nil {
		t.Fatal(err)
	}
	if line := strings.TrimSuffix(out.String(), "\n"); printable.Text(line) != line {
		t.Errorf("a terminal would be shown %q", line)
	}
	var got string
	if err := json.Unmarshal([]byte(out.String()), &got); err != nil || got != want {
		t.Errorf("read back: %q, %v", got, err)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestAWriterThatFailsStopsTheRun(t *testing.T) {
	err := Lines(full{}, full{}, Options{}).Emit(event.Event{Kind: event.TaskStart, Task: "x"})
	if err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("got %v", err)
	}
}
