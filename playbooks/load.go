// SPDX-License-Identifier: MPL-2.0

package playbooks

import (
	"fmt"

	"drover/internal/bounded"
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
	data, err := bounded.ReadFile(file, largestFile)
	if err != nil {
		return nil, nil, fmt.Errorf("read playbook: %w", err)
	}
	return Parse(file, data, options)
}

// Parse checks a playbook that is in memory; name stands for the file in messages.
func Parse(name string, data []byte, options Options) (*Playbook, []Warning, error) {
	table := options.Modules
	if table == nil {
		table = modules.Table()
	}
	p := newParser(name, data, table)
	playbook := &Playbook{File: name}
	if root := p.document(data); root != nil {
		playbook.Plays = p.plays(root)
	}
	if err := p.err(); err != nil {
		return nil, p.warnings, err
	}
	return playbook, p.warnings, nil
}
