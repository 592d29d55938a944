// SPDX-License-Identifier: MPL-2.0

package wire

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"pgregory.net/rapid"
)

// Whatever bytes come, reading neither panics nor takes more memory than the limits, and what is read is what can be written.
func FuzzReadMessage(f *testing.F) {
	var good bytes.Buffer
	if err := WriteMessage(&good, Header{Op: "stat", Timeout: 5, Body: true}); err != nil {
		f.Fatal(err)
	}
	f.Add(good.Bytes())
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, '{'})
	f.Add([]byte{0, 0, 0, 2, '{'})
	f.Fuzz(func(t *testing.T, text []byte) {
		var header Header
		if err := ReadMessage(bytes.NewReader(text), &header); err != nil {
			return
		}
		var again bytes.Buffer
		if err := WriteMessage(&again, header); err != nil {
			t.Fatal(err)
		}
		var second Header
		if err := ReadMessage(&again, &second); err != nil || second != header {
			t.Fatalf("read back: got %+v, %v; want %+v", second, err, header)
		}
	})
}

func FuzzBody(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 'a', 0, 0, 0, 0})
	f.Add([]byte{0, 4, 0, 1})
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := io.ReadAll(Body(bytes.NewReader(text)))
		if err == nil && len(got) > len(text)-4 {
			t.Fatalf("a body of %d bytes came from %d", len(got), len(text))
		}
	})
}

func TestBodyIsWholeOrAnError(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		content := rapid.SliceOfN(rapid.Byte(), 0, 3*1000).Draw(t, "content")
		var framed bytes.Buffer
		if err := WriteBody(&framed, bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(Body(bytes.NewReader(framed.Bytes()))); err != nil || !bytes.Equal(got, content) {
			t.Fatalf("whole body: %d bytes, %v", len(got), err)
		}
		cut := rapid.IntRange(0, framed.Len()-1).Draw(t, "cut")
		if _, err := io.ReadAll(Body(bytes.NewReader(framed.Bytes()[:cut]))); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("body cut after %d of %d bytes: got %v", cut, framed.Len(), err)
		}
	})
}
