// SPDX-License-Identifier: MPL-2.0

package journal

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"drover/internal/event"
)

// FuzzRead reads what might be a journal: it ends, without a panic, and whatever it takes for an event stands in the text at
// its place.
func FuzzRead(f *testing.F) {
	text, err := os.ReadFile(filepath.Join(written(f, someEvents()), EventsFile))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(text[:len(text)-5])
	f.Add(bytes.Replace(text, []byte("host_start"), []byte("host_stbrt"), 1))
	f.Add([]byte("{\"seq\":1,,\"crc\":\"00000000\"}\n\n"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, text []byte) {
		var got [][]byte
		torn, err := scan(bytes.NewReader(text), nil, func(l line) bool {
			if l.number != len(got)+1 {
				t.Fatalf("line %d comes after %d", l.number, len(got))
			}
			_, _ = decode(l.text)
			got = append(got, append(bytes.Clone(l.text), '\n'))
			return true
		})
		taken := bytes.Join(got, nil)
		if !bytes.HasPrefix(text, taken) {
			t.Fatal("what was read is no prefix of the text")
		}
		if err == nil && !torn && len(taken) != len(text) {
			t.Fatalf("%d bytes were passed over in silence", len(text)-len(taken))
		}
	})
}

// Whatever an event holds, it reads back, and so does any beginning of a journal of such events.
func TestAnyEventReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var text []byte
		var ends []int
		messages := rapid.SliceOfN(rapid.String(), 1, 8).Draw(t, "messages")
		for i, message := range messages {
			line, err := encode(i+1, event.Event{Version: 1, Kind: event.HostResult, Message: message, Task: message})
			if err != nil {
				t.Fatal(err)
			}
			text = append(text, line...)
			ends = append(ends, len(text))
		}
		cut := rapid.IntRange(0, len(text)).Draw(t, "cut")
		read := 0
		torn, err := scan(bytes.NewReader(text[:cut]), nil, func(l line) bool {
			e, err := decode(l.text)
			if err != nil || e.Message != e.Task {
				t.Fatalf("%+v, %v", e, err)
			}
			read++
			return true
		})
		whole := 0
		for _, end := range ends {
			if end <= cut {
				whole++
			}
		}
		if err != nil || read != whole || torn != (cut > 0 && text[cut-1] != '\n') {
			t.Fatalf("%d bytes: %d events of %d, torn %t, %v", cut, read, whole, torn, err)
		}
	})
}
