// SPDX-License-Identifier: MPL-2.0

package yaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"drover/internal/expression"
)

// Bounds of what Parse reads.
const (
	maxSize    = 32 << 20 // bytes of a file
	maxDepth   = 100      // levels of nesting
	maxNodes   = 2 << 20  // values
	maxAliased = 100_000  // values that come from aliases, each counted as often as it is used
)

// Error is a mistake in a YAML file; it is the error type of expressions, so that callers treat both alike.
type Error = expression.Error

// Warning is something that is read in a way its author may not expect.
type Warning struct {
	expression.Position
	Message string
}

// String returns "file:line:column: message".
func (w Warning) String() string { return w.Position.String() + ": " + w.Message }

// Parse reads every document of a file. Empty documents are left out. The error names file, line and column.
func Parse(file string, data []byte) ([]*Node, []Warning, error) {
	c := &converter{file: file, resolver: newResolver()}
	at := expression.Position{File: file, Line: 1, Column: 1}
	if len(data) > maxSize {
		return nil, nil, &Error{Position: at, Message: fmt.Sprintf("the file is larger than %d MiB", maxSize>>20)}
	}
	if line := invalidLine(data); line > 0 {
		at.Line = line
		return nil, nil, &Error{Position: at, Message: "the file is not UTF-8 text"}
	}
	var documents []*Node
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var document yaml.Node
		err := decode(decoder, &document)
		if errors.Is(err, io.EOF) {
			return documents, c.warnings, nil
		}
		if err != nil {
			return nil, c.warnings, syntaxError(file, data, err)
		}
		if len(document.Content) == 0 {
			continue
		}
		node, err := c.node(document.Content[0], "", 0)
		if err != nil {
			return nil, c.warnings, err
		}
		documents = append(documents, node)
	}
}

// decode keeps a panic of the library, which it raises for some broken input, from ending the program.
func decode(decoder *yaml.Decoder, into *yaml.Node) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("yaml: %v", r)
		}
	}()
	return decoder.Decode(into)
}

// invalidLine returns the line of the first byte that is not UTF-8, 0 where there is none.
func invalidLine(data []byte) int {
	if utf8.Valid(data) {
		return 0
	}
	for i, line := range bytes.Split(data, []byte("\n")) {
		if !utf8.Valid(line) {
			return i + 1
		}
	}
	return 1
}

// syntaxError gives the library's message a place. The library counts lines from 0 or from 1, depending on the part
// of it that complains, and knows no columns.
func syntaxError(file string, data []byte, err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	at := expression.Position{File: file, Line: 1, Column: 1}
	if match := regexp.MustCompile(`^line (\d+): `).FindStringSubmatch(text); match != nil {
		if line, failure := strconv.Atoi(match[1]); failure == nil {
			at.Line = max(line, 1)
		}
		text = text[len(match[0]):]
	}
	result := &Error{Position: at, Message: text, Err: err}
	if line, column, ok := bareBraces(data, at.Line); ok {
		result.Line, result.Column = line, column
		result.Hint = `a value that begins with {{ must be in quotes: "{{ x }}"`
		return result
	}
	if line, column, ok := tabIndent(data, at.Line); ok {
		result.Line, result.Column = line, column
		result.Hint = "indent with spaces, not with tabs"
	}
	return result
}

// near calls look for a line and its neighbours, nearest first.
func near(data []byte, line int, look func(text string) int) (int, int, bool) {
	lines := strings.Split(string(data), "\n")
	for _, candidate := range []int{line, line - 1, line + 1} {
		if candidate < 1 || candidate > len(lines) {
			continue
		}
		if i := look(lines[candidate-1]); i >= 0 {
			return candidate, 1 + utf8.RuneCountInString(lines[candidate-1][:i]), true
		}
	}
	return line, 1, false
}

var bareValue = regexp.MustCompile(`^\s*(?:- +)*(?:[^\s#'"{\[][^'"{\[]*: +)?\{\{`)

func bareBraces(data []byte, line int) (int, int, bool) {
	return near(data, line, func(text string) int {
		if place := bareValue.FindStringIndex(text); place != nil {
			return place[1] - 2
		}
		return -1
	})
}

func tabIndent(data []byte, line int) (int, int, bool) {
	return near(data, line, func(text string) int {
		if indent := text[:len(text)-len(strings.TrimLeft(text, " \t"))]; strings.Contains(indent, "\t") {
			return strings.IndexByte(indent, '\t')
		}
		return -1
	})
}
