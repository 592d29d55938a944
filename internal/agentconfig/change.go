// SPDX-License-Identifier: MPL-2.0

package agentconfig

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Edit is a file that has to change.
type Edit struct {
	Path   string
	Before []byte // nil for a file that is not there yet
	After  []byte
}

// FlagError says that a flag of the command line decides, so that no edit of a file can.
type FlagError struct {
	Path Path
	Flag string
}

func (e *FlagError) Error() string {
	return fmt.Sprintf("%s is set by the flag %s, which beats every file: take it out of the unit's ExecStart (systemctl edit, then systemctl daemon-reload)", e.Path, e.Flag)
}

// Edits lists the files that have to change so that a key has a value for the whole agent; none where it has. sources are the
// configuration files in the order in which the agent loads them, argv is its command line. The file that decides is edited; where none sets
// the key, the last one that has its block, else the last one. A zero that does not override takes every file that sets anything else.
// want is nil for a key that shall not be set at all: it goes from all files. A file that cannot be parsed is an error, and so is a flag
// that decides otherwise (*FlagError).
func Edits(sources []Source, argv []string, key Path, want *Value) ([]Edit, error) {
	c, err := newChange(sources, argv, key)
	if err != nil {
		return nil, err
	}
	if want == nil {
		return c.unset()
	}
	if set, err := c.has(want); set || err != nil {
		return nil, err
	}
	all, err := Occurrences(c.sources, argv, key)
	if err != nil {
		return nil, err
	}
	if err := checkMerge(c.sources, all, key, want); err != nil {
		return nil, err
	}
	decides, ok := Deciding(all, key)
	if !ok {
		decides.File = c.home(key)
	}
	if err := c.set(decides.File, want); err != nil {
		return nil, err
	}
	// Once the last value that is not zero has become zero, one before it may decide.
	for range all {
		if set, err := c.has(want); set || err != nil {
			return c.edits, err
		}
		if decides, ok = c.decides(); !ok {
			break
		}
		if err := c.set(decides.File, want); err != nil {
			return nil, err
		}
	}
	if set, err := c.has(want); set || err != nil {
		return c.edits, err
	}
	return nil, fmt.Errorf("%s cannot be given the value %s by an edit of the files", key, want)
}

// DropIn is the edit that gives a key its value in a file of its own, in one of the directories that -config names; none where it has
// the value there already. The file must not exist yet or be one of sources; it must come after whatever sets the key otherwise. want nil
// takes the key out of that file again.
func DropIn(sources []Source, argv []string, directory, name string, key Path, want *Value) ([]Edit, error) {
	if path.Base(name) != name || !(strings.HasSuffix(name, ".hcl") || strings.HasSuffix(name, ".json")) || strings.HasPrefix(name, ".#") {
		return nil, fmt.Errorf("%q is not the name of a file that Nomad loads: want a name that ends in .hcl or .json", name)
	}
	file := path.Join(directory, name)
	isNew := !slices.ContainsFunc(sources, func(s Source) bool { return s.Path == file })
	if isNew {
		empty := ""
		if strings.HasSuffix(name, ".json") {
			empty = "{\n}\n"
		}
		sources = WithFile(sources, file, []byte(empty))
	}
	c, err := newChange(sources, argv, key)
	if err != nil {
		return nil, err
	}
	if want == nil {
		err := c.put(file, func(text []byte) ([]byte, error) { return Unset(text, key) })
		return c.edits, err
	}
	if strings.EqualFold(key[0], "plugin") && len(key) > 1 {
		return nil, fmt.Errorf("%s: Nomad takes the configuration of a plugin from one file only; a drop-in would take its other settings away", key)
	}
	if err := c.set(file, want); err != nil {
		return nil, err
	}
	if isNew {
		c.edits[0].Before = nil
	}
	if set, err := c.has(want); set || err != nil {
		return c.edits, err
	}
	decides, ok := c.decides()
	switch {
	case !ok:
		return nil, fmt.Errorf("%s in %s would not take effect", key, file)
	case decides.File == file:
		return nil, fmt.Errorf("%s = %s in a drop-in would not take effect", key, want)
	case want.Zero() && !key.ZeroCounts():
		return nil, fmt.Errorf("%s sets %s, and a drop-in cannot take it back: Nomad takes %s for \"not set\"; edit that file (where: deciding)", decides.Where(), key, want)
	}
	return nil, fmt.Errorf("%s sets %s, and comes after %s: give the drop-in a name that sorts behind it, or edit that file (where: deciding)", decides.Where(), key, file)
}

// WithFile adds a file where the agent would load it: in its directory, in the order of names; at the end where no other file of the
// directory is among the sources.
func WithFile(sources []Source, file string, text []byte) []Source {
	at := -1
	for i, source := range sources {
		switch {
		case path.Dir(source.Path) != path.Dir(file):
		case source.Path < file:
			at = i + 1
		case at < 0:
			at = i
		}
	}
	if at < 0 {
		at = len(sources)
	}
	return slices.Insert(slices.Clone(sources), at, Source{Path: file, Text: text})
}

// change collects edits.
type change struct {
	key     Path
	argv    []string
	sources []Source
	edits   []Edit
}

func newChange(sources []Source, argv []string, key Path) (*change, error) {
	if len(key) == 0 || len(sources) == 0 {
		return nil, errors.New("the agent has no configuration files: its unit names no -config, or an empty directory")
	}
	return &change{key: key, argv: argv, sources: slices.Clone(sources)}, nil
}

func (c *change) decides() (Occurrence, bool) {
	all, err := Occurrences(c.sources, c.argv, c.key)
	if err != nil {
		return Occurrence{}, false
	}
	return Deciding(all, c.key)
}

// has tells whether the key has the value. A flag that decides otherwise is an error.
func (c *change) has(want *Value) (bool, error) {
	all, err := Occurrences(c.sources, c.argv, c.key)
	if err != nil {
		return false, err
	}
	decides, ok := Deciding(all, c.key)
	if !ok {
		return false, nil
	}
	same := decides.Value.Equal(*want)
	if decides.Flag != "" && !same {
		return false, &FlagError{c.key, decides.Flag}
	}
	return same, nil
}

func (c *change) unset() ([]Edit, error) {
	all, err := Occurrences(c.sources, c.argv, c.key)
	if err != nil {
		return nil, err
	}
	for _, o := range all {
		if o.Flag != "" {
			return nil, &FlagError{c.key, o.Flag}
		}
		if err := c.put(o.File, func(text []byte) ([]byte, error) { return Unset(text, c.key) }); err != nil {
			return nil, err
		}
	}
	return c.edits, nil
}

func (c *change) set(file string, want *Value) error {
	return c.put(file, func(text []byte) ([]byte, error) { return Set(text, c.key, *want) })
}

// put edits one file, wherever it comes in the order.
func (c *change) put(file string, edit func([]byte) ([]byte, error)) error {
	at := slices.IndexFunc(c.sources, func(s Source) bool { return s.Path == file })
	before := c.sources[at].Text
	after, err := edit(before)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if bytes.Equal(before, after) {
		return nil
	}
	for i := range c.sources {
		if c.sources[i].Path == file {
			c.sources[i].Text = after
		}
	}
	if i := slices.IndexFunc(c.edits, func(e Edit) bool { return e.Path == file }); i >= 0 {
		c.edits[i].After = after
		return nil
	}
	c.edits = append(c.edits, Edit{Path: file, Before: before, After: after})
	return nil
}

// home is the file that a key which nobody sets is put into: the last of those that have most of its blocks.
func (c *change) home(key Path) string {
	best, depth := c.sources[len(c.sources)-1].Path, 0
	for _, source := range c.sources {
		f, err := Parse(source.Text)
		if err != nil {
			continue
		}
		if found := f.find(key); found.depth > 0 && found.depth >= depth {
			best, depth = source.Path, found.depth
		}
	}
	return best
}

// checkMerge refuses what Nomad does not merge key by key: lists of several places, and plugins of several files.
func checkMerge(sources []Source, all []Occurrence, key Path, want *Value) error {
	if want.Kind == List && len(all) > 1 {
		return fmt.Errorf("%s is set at %s and at %s, and Nomad may join the lists: leave one of them", key, all[0].Where(), all[len(all)-1].Where())
	}
	if len(key) < 2 || !key[:1].among("plugin") {
		return nil
	}
	first := ""
	for _, source := range sources {
		f, err := Parse(source.Text)
		if err != nil {
			return fmt.Errorf("%s:%w", source.Path, err)
		}
		if found := f.find(append(slices.Clone(key[:2]), "config")); found.depth < 2 || source.Path == first {
			continue
		}
		if first != "" {
			return fmt.Errorf("%s and %s both configure the plugin %s, and Nomad takes only one of them: leave one", first, source.Path, key[1])
		}
		first = source.Path
	}
	return nil
}
