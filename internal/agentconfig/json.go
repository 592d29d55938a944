// SPDX-License-Identifier: MPL-2.0

package agentconfig

import (
	"encoding/json"
	"strings"
)

// jsonError is an error at an offset.
type jsonError struct {
	at     int
	reason string
}

// parseJSON builds the tree of a JSON file, of which the HCL library keeps no positions. With an error there is what came before it.
// What follows the outermost object is left alone, as Nomad does.
func parseJSON(text []byte) (*block, *jsonError) {
	r := &jsonReader{text: text}
	r.space()
	root := &block{open: r.at}
	return root, r.object(root, 1)
}

type jsonReader struct {
	text []byte
	at   int
}

func (r *jsonReader) fail(reason string) *jsonError {
	return &jsonError{min(r.at, len(r.text)), reason}
}

func (r *jsonReader) peek() byte {
	if r.at >= len(r.text) {
		return 0
	}
	return r.text[r.at]
}

func (r *jsonReader) space() {
	for r.at < len(r.text) && strings.IndexByte(" \t\r\n", r.text[r.at]) >= 0 {
		r.at++
	}
}

// object reads from the opening brace to behind the closing one.
func (r *jsonReader) object(into *block, depth int) *jsonError {
	if depth > maximumDepth {
		return r.fail("its objects are too deep")
	}
	r.at++
	for {
		// Nomad's parser takes a comma before the closing brace.
		if r.space(); r.peek() == '}' {
			into.close = r.at
			r.at++
			return nil
		}
		if err := r.member(into, depth); err != nil {
			return err
		}
		r.space()
		switch r.peek() {
		case ',':
			r.at++
		case '}':
			into.close = r.at
			r.at++
			return nil
		default:
			return r.fail("want a comma or the end of the object")
		}
	}
}

func (r *jsonReader) member(into *block, depth int) *jsonError {
	it := &item{start: r.at}
	key, err := r.quoted()
	if err != nil {
		return err
	}
	it.keys, it.keyEnd = []string{key}, r.at
	r.space()
	if r.peek() != ':' {
		return r.fail("want a colon")
	}
	r.at++
	r.space()
	into.items = append(into.items, it)
	err = r.value(&it.value, depth)
	it.end = r.at
	return err
}

// quoted reads one text in quotation marks.
func (r *jsonReader) quoted() (string, *jsonError) {
	start := r.at
	if r.peek() != '"' {
		return "", r.fail("want a text in quotation marks")
	}
	for r.at++; r.peek() != '"'; r.at++ {
		if r.at >= len(r.text) || r.peek() == '\n' {
			r.at = start
			return "", r.fail("a text has no end")
		}
		if r.peek() == '\\' {
			r.at++
		}
	}
	r.at++
	var text string
	if err := json.Unmarshal(r.text[start:min(r.at, len(r.text))], &text); err != nil {
		r.at = start
		return "", r.fail("this is no JSON text")
	}
	return text, nil
}

func (r *jsonReader) value(into *value, depth int) *jsonError {
	into.start = r.at
	var err *jsonError
	switch r.peek() {
	case '{':
		into.Kind, into.block = Block, &block{open: r.at}
		err = r.object(into.block, depth+1)
	case '[':
		into.Kind = List
		err = r.list(into, depth+1)
	case '"':
		into.Kind = String
		into.Text, err = r.quoted()
	default:
		err = r.word(into)
	}
	into.end = r.at
	return err
}

func (r *jsonReader) list(into *value, depth int) *jsonError {
	if depth > maximumDepth {
		return r.fail("its lists are too deep")
	}
	r.at++
	for r.space(); r.peek() != ']'; r.space() {
		var element value
		err := r.value(&element, depth)
		into.add(element)
		if err != nil {
			return err
		}
		r.space()
		if r.peek() == ',' {
			r.at++
		} else if r.peek() != ']' {
			return r.fail("want a comma or the end of the list")
		}
	}
	r.at++
	return nil
}

// word reads true, false, null or a number.
func (r *jsonReader) word(into *value) *jsonError {
	start := r.at
	for r.at < len(r.text) && strings.IndexByte(" \t\r\n,]}:{[\"", r.text[r.at]) < 0 {
		r.at++
	}
	into.Text = string(r.text[start:r.at])
	switch into.Text {
	case "true", "false":
		into.Kind = Bool
	case "null":
		into.Kind, into.Text = Null, ""
	default:
		into.Kind = Number
		if !json.Valid(r.text[start:r.at]) {
			into.Kind, into.Text, r.at = Null, "", start
			return r.fail("this is no JSON value")
		}
	}
	return nil
}
