// SPDX-License-Identifier: MPL-2.0

package playbooks

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"drover/internal/expression"
	"drover/internal/modules"
)

// Options change how a playbook is checked; the zero value is what drover run uses.
type Options struct {
	// Modules is the table that tasks are checked against; nil: modules.Table().
	Modules []modules.Module
}

// largestFile bounds a playbook or a file of variables, in bytes.
const largestFile = 4 << 20

// Load reads and checks a playbook file. All mistakes are found at once: the error is a *Problems, or says why the file cannot
// be read.
func Load(file string, options Options) (*Playbook, []Warning, error) {
	data, err := readBounded(file)
	if err != nil {
		return nil, nil, fmt.Errorf("read playbook: %w", err)
	}
	return Parse(file, data, options)
}

func readBounded(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, largestFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > largestFile {
		return nil, fmt.Errorf("%s is larger than %d MiB", file, largestFile>>20)
	}
	return data, nil
}

// Parse checks a playbook that is in memory; name stands for the file in messages.
func Parse(name string, data []byte, options Options) (*Playbook, []Warning, error) {
	p := &parser{file: name, lines: splitLines(data), modules: options.Modules}
	if p.modules == nil {
		p.modules = modules.Table()
	}
	playbook := &Playbook{File: name}
	if root := p.document(data); root != nil {
		playbook.Plays = p.plays(root)
	}
	if err := p.err(); err != nil {
		return nil, p.warnings, err
	}
	return playbook, p.warnings, nil
}

// document returns the root of the file's only document, nil after a mistake.
func (p *parser) document(data []byte) *yaml.Node {
	start := expression.Position{File: p.file, Line: 1, Column: 1}
	if len(data) > largestFile {
		p.refuse(start, "", "the file is larger than %d MiB", largestFile>>20)
		return nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document, second yaml.Node
	if err := decoder.Decode(&document); err != nil {
		if errors.Is(err, io.EOF) {
			p.refuse(start, "", "the file is empty")
			return nil
		}
		p.refuseSyntax(err)
		return nil
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		p.refuse(start, "write one file for each", "the file holds more than one YAML document")
		return nil
	}
	if document.Kind != yaml.DocumentNode || len(document.Content) == 0 {
		p.refuse(start, "", "the file is empty")
		return nil
	}
	return dereference(document.Content[0])
}

// refuseSyntax records an error of the YAML parser, whose text alone tells the place, as "yaml: line N: ...".
func (p *parser) refuseSyntax(err error) {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	at := expression.Position{File: p.file, Line: 1, Column: 1}
	if m := regexp.MustCompile(`^line (\d+): `).FindStringSubmatch(message); m != nil {
		if line, err := strconv.Atoi(m[1]); err == nil && line > 0 {
			at.Line = line
		}
		message = message[len(m[0]):]
	}
	hint := ""
	if at.Line <= len(p.lines) {
		text := string(p.lines[at.Line-1])
		trimmed := strings.TrimLeft(text, " ")
		at.Column = 1 + len(text) - len(trimmed)
		if strings.Contains(text, "{{") {
			hint = `a value that begins with {{ or has ": " in it must be in quotes`
		}
		if strings.HasPrefix(trimmed, "\t") {
			hint = "indent with spaces, not with tabs"
		}
	}
	p.refuse(at, hint, "this is not YAML: %s", message)
}
