// SPDX-License-Identifier: MPL-2.0

package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"

	"drover/internal/event"
)

// maxLine bounds a line, in bytes. An event that would be longer is recorded without its result.
const maxLine = 4 << 20

// sumLength is that of `,"crc":"9bc3f1e2"}`.
const sumLength = 18

func checksum(line []byte) uint32 { return crc32.Checksum(line, crc32.MakeTable(crc32.Castagnoli)) }

// encode turns an event into a line.
func encode(seq int, e event.Event) ([]byte, error) {
	text, err := json.Marshal(e)
	if err == nil && len(text) > maxLine-64 {
		e.Diff, e.Result = "", map[string]string{"left_out": fmt.Sprintf("the result has %d bytes", len(text))}
		text, err = json.Marshal(e)
	}
	switch {
	case err != nil:
		return nil, err
	case len(text) > maxLine-64:
		return nil, fmt.Errorf("an event of %d bytes is too long", len(text))
	}
	line := make([]byte, 0, len(text)+64)
	line = append(line, `{"seq":`...)
	line = strconv.AppendInt(line, int64(seq), 10)
	line = append(line, ',')
	line = append(line, text[1:len(text)-1]...)
	return fmt.Appendf(line, ",\"crc\":\"%08x\"}\n", checksum(line)), nil
}

// What can be wrong with a line.
var (
	errSum   = errors.New("the checksum does not fit the text")
	errShape = errors.New("it is no line of a journal")
)

// check finds out whether a line, without its end, is whole and is the one with this number.
func check(line []byte, seq int) error {
	body := len(line) - sumLength
	if body < 0 || !bytes.HasPrefix(line[body:], []byte(`,"crc":"`)) || !bytes.HasSuffix(line, []byte(`"}`)) {
		return errShape
	}
	sum, err := strconv.ParseUint(string(line[body+8:body+16]), 16, 32)
	if err != nil {
		return errShape
	}
	if uint32(sum) != checksum(line[:body]) {
		return errSum
	}
	if want := fmt.Sprintf(`{"seq":%d,`, seq); !bytes.HasPrefix(line, []byte(want)) {
		return fmt.Errorf("it is not event %d: events are missing, or lines were moved", seq)
	}
	return nil
}

// decode reads the event of a line that checks out. Its Result is a json.RawMessage.
func decode(line []byte) (event.Event, error) {
	var kept struct {
		event.Event
		Result json.RawMessage `json:"result"`
	}
	if err := json.Unmarshal(line, &kept); err != nil {
		return event.Event{}, err
	}
	if kept.Version != Version {
		return event.Event{}, fmt.Errorf("its format has version %d and this drover reads %d: use the drover that wrote it, or a newer one", kept.Version, Version)
	}
	if kept.Result != nil {
		kept.Event.Result = kept.Result
	}
	return kept.Event, nil
}
