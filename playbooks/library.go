// SPDX-License-Identifier: MPL-2.0

package playbooks

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"drover/internal/nearest"
)

// library holds the ready playbooks: the product's procedures, written in its own language.
//
//go:embed library
var library embed.FS

// Entry is one ready playbook.
type Entry struct {
	Name  string // without .yml
	Short string // the first comment line of the file
}

// Library lists the ready playbooks by name.
func Library() []Entry {
	files, err := fs.Glob(library, "library/*.yml")
	if err != nil {
		return nil
	}
	var entries []Entry
	for _, file := range files {
		data, err := library.ReadFile(file)
		if err != nil {
			continue
		}
		entries = append(entries, Entry{Name: strings.TrimSuffix(path.Base(file), ".yml"), Short: firstComment(string(data))})
	}
	return entries
}

// firstComment returns the first comment line that is not the licence.
func firstComment(text string) string {
	for line := range strings.Lines(text) {
		comment, ok := strings.CutPrefix(strings.TrimSpace(line), "#")
		comment = strings.TrimSpace(comment)
		if ok && comment != "" && !strings.HasPrefix(comment, "SPDX-") {
			return comment
		}
	}
	return ""
}

// Open returns the text of a ready playbook.
func Open(name string) ([]byte, error) {
	data, err := library.ReadFile("library/" + name + ".yml")
	if err == nil && !strings.Contains(name, "/") {
		return data, nil
	}
	var names []string
	for _, entry := range Library() {
		names = append(names, entry.Name)
	}
	hint := nearest.Hint(name, names)
	if hint == "" {
		hint = "drover playbook list shows those there are"
	}
	return nil, fmt.Errorf("there is no ready playbook %q; %s", name, hint)
}

// LoadLibrary parses a ready playbook; messages name it as library/NAME.yml.
func LoadLibrary(name string, options Options) (*Playbook, []Warning, error) {
	data, err := Open(name)
	if err != nil {
		return nil, nil, err
	}
	return Parse("library/"+name+".yml", data, options)
}
