// SPDX-License-Identifier: MPL-2.0

package agentconfig

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Set gives an attribute a value in one file: the last one there is, which decides within the file, is replaced; else it is put into the
// last block that it belongs to, else with its blocks at the end. A text is written as a boolean or a number where one stands. What Nomad
// reads as the same value is left as it is written.
func Set(text []byte, path Path, v Value) ([]byte, error) {
	f, err := Parse(text)
	if err != nil {
		return nil, err
	}
	found := f.find(path)
	if found.wrong != nil {
		line, column := f.position(found.wrong.start)
		return nil, fmt.Errorf("%s is a %s at %d:%d, so that %s cannot be set", strings.Join(found.wrong.keys, " "), found.wrong.value.Kind, line, column, path)
	}
	var at splice
	if n := len(found.items); n > 0 {
		old := &found.items[n-1].value
		line, column := f.position(old.start)
		switch {
		case old.Kind == Block || len(old.blocks) > 0:
			return nil, fmt.Errorf("%s is a block at %d:%d, not an attribute", path, line, column)
		case v.Kind == List && n > 1:
			return nil, fmt.Errorf("%s is set %d times in one file, and Nomad may join lists: leave one of them, the last is at %d:%d", path, n, line, column)
		case (v.Kind == List) != (old.Kind == List) && old.Kind != Null:
			return nil, fmt.Errorf("%s is a %s at %d:%d, and the new value is a %s", path, old.Kind, line, column, v.Kind)
		case old.Equal(v) && old.Kind != Null:
			return text, nil
		}
		at = splice{old.start, old.end, f.write(v.as(old.Kind))}
	} else if at, err = f.insertion(found, path, v); err != nil {
		return nil, err
	}
	return at.checked(text, path, &v)
}

// Unset removes every attribute of the path from one file. Blocks stay, also when they are empty then, and so do comments.
func Unset(text []byte, path Path) ([]byte, error) {
	for {
		f, err := Parse(text)
		if err != nil {
			return nil, err
		}
		found := f.find(path)
		n := len(found.items)
		if n == 0 {
			return text, nil
		}
		last, in := found.items[n-1], found.in[n-1]
		if last.value.Kind == Block || len(last.value.blocks) > 0 {
			line, column := f.position(last.start)
			return nil, fmt.Errorf("%s is a block at %d:%d, not an attribute", path, line, column)
		}
		if text, err = f.removal(in, last).checked(text, path, nil); err != nil {
			return nil, err
		}
	}
}

func (f *File) write(v Value) string {
	if f.json {
		return v.json()
	}
	return v.hcl()
}

// splice replaces the bytes from start to end.
type splice struct {
	start, end int
	with       string
}

// checked does the splice and holds the result to the promise: nothing but the one key differs.
func (s splice) checked(text []byte, path Path, want *Value) ([]byte, error) {
	after := slices.Concat(text[:s.start], []byte(s.with), text[s.end:])
	if err := onlyDiffers(text, after, path, want); err != nil {
		return nil, fmt.Errorf("the file cannot be edited safely: %w; edit %s by hand", err, path)
	}
	return after, nil
}

// removal takes out one attribute: its lines where it stands alone on them, else it and the space and comma beside it.
func (f *File) removal(in *block, it *item) splice {
	at := slices.Index(in.items, it)
	if f.json {
		switch {
		case at+1 < len(in.items):
			return splice{start: it.start, end: in.items[at+1].start}
		case at > 0:
			return splice{start: in.items[at-1].end, end: it.end}
		}
		return splice{start: in.open + 1, end: in.close}
	}
	start, end := f.lineStart(it.start), f.skip(it.end, ", \t")
	alone := start > in.open && f.blank(start, it.start)
	if rest := f.lineBreak(end); alone && (rest > 0 || end == len(f.text)) {
		return splice{start: start, end: end + rest}
	}
	switch {
	case end < len(f.text) && f.lineBreak(end) == 0 && end != in.close:
		return splice{start: it.start, end: end}
	case at > 0 && in.items[at-1].end >= start && len(bytes.Trim(f.text[in.items[at-1].end:it.start], ", \t")) == 0:
		return splice{start: in.items[at-1].end, end: it.end}
	}
	return splice{start: f.skipBack(it.start), end: it.end}
}

// lineStart is the offset at which the line of an offset begins.
func (f *File) lineStart(at int) int { return bytes.LastIndexByte(f.text[:at], '\n') + 1 }

// lineBreak is the length of the line break at an offset, 0 where there is none.
func (f *File) lineBreak(at int) int {
	switch {
	case bytes.HasPrefix(f.text[at:], []byte("\r\n")):
		return 2
	case bytes.HasPrefix(f.text[at:], []byte("\n")):
		return 1
	}
	return 0
}

func (f *File) skip(at int, over string) int {
	for at < len(f.text) && strings.IndexByte(over, f.text[at]) >= 0 {
		at++
	}
	return at
}

// skipBack goes back over spaces.
func (f *File) skipBack(at int) int {
	for at > 0 && (f.text[at-1] == ' ' || f.text[at-1] == '\t') {
		at--
	}
	return at
}

// blank tells whether there is nothing but spaces and line breaks between two offsets.
func (f *File) blank(start, end int) bool { return len(bytes.TrimSpace(f.text[start:end])) == 0 }

// newline is the line break of the file, that of its first line.
func (f *File) newline() string {
	if at := bytes.IndexByte(f.text, '\n'); at > 0 && f.text[at-1] == '\r' {
		return "\r\n"
	}
	return "\n"
}
