// SPDX-License-Identifier: MPL-2.0

package agentconfig

import (
	"bytes"
	"fmt"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"
)

const (
	// Agents' files hold some dozens of blocks. The bound keeps the parser, which recurses, from running out of stack.
	maximumBlocks = 10_000
	maximumDepth  = 32
)

// SyntaxError says where a file cannot be read. It does not quote the file, which may hold secrets.
type SyntaxError struct {
	Line, Column int // from 1; 0: not known
	Reason       string
}

func (e *SyntaxError) Error() string {
	if e.Line == 0 {
		return e.Reason
	}
	return fmt.Sprintf("%d:%d: %s", e.Line, e.Column, e.Reason)
}

// File is a parsed configuration file.
type File struct {
	text  []byte
	json  bool
	root  *block
	lines []int // offsets at which lines begin
}

// block is what stands between braces, or the whole file.
type block struct {
	open, close int // offsets of the braces; -1 and the file's length for the file
	items       []*item
}

// item is an attribute or a block with what stands before it: in HCL a block's name and labels.
type item struct {
	keys       []string
	start, end int // from the first key to the end of the value
	keyEnd     int // where the last key ends
	value      value
}

// value is a Value with its place. A heredoc ends before its last line break.
type value struct {
	Value
	start, end int
	block      *block // of a Block
	blocks     []*block
}

// inner are the blocks that a value holds: itself, or those of a list, which is how JSON repeats a block.
func (v *value) inner() []*block {
	if v.block != nil {
		return []*block{v.block}
	}
	return v.blocks
}

// Parse reads a file, JSON or HCL1. With an error, which is a *SyntaxError, the File holds what came before it in JSON.
func Parse(text []byte) (*File, error) {
	f := &File{text: text, json: isJSON(text), root: &block{open: -1, close: len(text)}, lines: []int{0}}
	for at, b := range text {
		if b == '\n' {
			f.lines = append(f.lines, at+1)
		}
	}
	if bytes.Count(text, []byte("{"))+bytes.Count(text, []byte("[")) > maximumBlocks && !f.json {
		return f, &SyntaxError{Reason: fmt.Sprintf("it has more than %d blocks and lists", maximumBlocks)}
	}
	if f.json {
		root, err := parseJSON(text)
		if root != nil {
			f.root = root
		}
		if err != nil {
			line, column := f.position(err.at)
			return f, &SyntaxError{Line: line, Column: column, Reason: err.reason}
		}
		return f, nil
	}
	root, err := parseHCL(text)
	if err != nil {
		return f, err
	}
	f.root = root
	return f, nil
}

// isJSON decides as Nomad's parser does: by the first character, not by the file's name.
func isJSON(text []byte) bool {
	return bytes.HasPrefix(bytes.TrimSpace(text), []byte("{"))
}

// position is the line and the column, in characters, of an offset.
func (f *File) position(offset int) (line, column int) {
	return (&cursor{f: f}).position(offset)
}

// cursor finds the positions of offsets that grow without counting a long line from its beginning each time.
type cursor struct {
	f                    *File
	offset, line, column int
}

func (c *cursor) position(offset int) (line, column int) {
	line = sort.SearchInts(c.f.lines, offset+1)
	if line != c.line || offset < c.offset {
		c.line, c.offset, c.column = line, c.f.lines[line-1], 1
	}
	c.column += utf8.RuneCount(c.f.text[c.offset:offset])
	c.offset = offset
	return line, c.column
}

// Entry is an attribute or a block with its place in the file.
type Entry struct {
	Path         Path // as it is written; labels count
	Value        Value
	Line, Column int // from 1, of the key
}

// Entries lists all blocks and attributes in the file's order, blocks before what they hold. A block with a label comes twice, without
// and with it. Blocks in lists come with the list's path.
func (f *File) Entries() []Entry {
	var entries []Entry
	at := cursor{f: f}
	var walk func(b *block, prefix Path)
	walk = func(b *block, prefix Path) {
		for _, it := range b.items {
			line, column := at.position(it.start)
			for n := 1; n < len(it.keys); n++ {
				entries = append(entries, Entry{slices.Concat(prefix, it.keys[:n]), Value{Kind: Block}, line, column})
			}
			path := slices.Concat(prefix, it.keys)
			entries = append(entries, Entry{path, it.value.Value, line, column})
			for _, inner := range it.value.inner() {
				walk(inner, path)
			}
		}
	}
	walk(f.root, nil)
	return entries
}

// Last returns the attribute that decides within this file: the last one, also when it is zero.
func (f *File) Last(path Path) (Entry, bool) {
	found := f.find(path)
	if len(found.items) == 0 {
		return Entry{}, false
	}
	it := found.items[len(found.items)-1]
	line, column := f.position(it.start)
	return Entry{path, it.value.Value, line, column}, true
}

// All returns every attribute of the path in this file, in order.
func (f *File) All(path Path) []Entry {
	var all []Entry
	at := cursor{f: f}
	for _, it := range f.find(path).items {
		line, column := at.position(it.start)
		all = append(all, Entry{path, it.value.Value, line, column})
	}
	return all
}

// found is where a path stands, or could.
type found struct {
	items []*item  // that set it, in order
	in    []*block // the blocks that hold them
	block *block   // the last block of those that match most of the path
	depth int      // how many segments of the path it has matched
	wrong *item    // an attribute where the path wants a block, or a block with a label where it wants an attribute
}

func (f *File) find(path Path) found {
	result := found{block: f.root}
	result.search(f.root, path, 0)
	return result
}

func (r *found) search(b *block, path Path, depth int) {
	if depth >= r.depth {
		r.block, r.depth = b, depth
	}
	for _, it := range b.items {
		if !path.startsWith(depth, it.keys) {
			// A block with a label beside one without is no configuration.
			if len(it.keys) > 1 && path.startsWith(depth, it.keys[:1]) && !path[:depth+1].labelled() {
				r.wrong = it
			}
			continue
		}
		if below := depth + len(it.keys); below == len(path) {
			r.items, r.in = append(r.items, it), append(r.in, b)
		} else {
			if len(it.value.inner()) == 0 {
				r.wrong = it
			}
			for _, inner := range it.value.inner() {
				if !otherCluster(path, inner) {
					r.search(inner, path, below)
				}
			}
		}
	}
}

// otherCluster tells whether a block vault or consul is for another cluster than the default one, of which Nomad 1.7 Enterprise may
// have several. They are not merged with it.
func otherCluster(path Path, b *block) bool {
	if !path[:1].among("vault", "consul") {
		return false
	}
	for _, it := range b.items {
		if len(it.keys) == 1 && strings.EqualFold(it.keys[0], "name") && it.value.Text != "default" && it.value.Text != "" {
			return true
		}
	}
	return false
}
