// SPDX-License-Identifier: MPL-2.0

package inventory

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"drover/internal/bounded"
	"drover/internal/expression"
)

const (
	maxFile  = 32 << 20 // bytes of one source or variable file
	maxDepth = 20       // of nested source or variable directories
)

// loader collects what the sources say.
type loader struct {
	inventory *Inventory
	warnings  []Warning
	known     map[string]bool // variable names that need no warning
}

// source reads one file, directory or list of names.
func (l *loader) source(source string) error {
	info, err := os.Stat(source)
	switch {
	case err == nil && info.IsDir():
		return l.directory(source, 0)
	case err == nil:
		return l.file(source)
	case errors.Is(err, fs.ErrNotExist) && strings.Contains(source, ","):
		return l.list(source)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("inventory %s does not exist (for a list of hosts put a comma behind it: %q)", source, source+",")
	}
	return fmt.Errorf("read inventory: %w", err)
}

func (l *loader) list(source string) error {
	at := expression.Position{File: "-i " + source, Line: 1, Column: 1}
	for _, name := range strings.Split(source, ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		if _, err := l.addHosts(name, l.inventory.named[groupUngrouped], at); err != nil {
			return err
		}
	}
	return nil
}

// directory reads every file of a directory in the order of their names, without those that Ansible leaves out.
func (l *loader) directory(directory string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("read inventory %s: nested deeper than %d directories", directory, maxDepth)
	}
	entries, err := os.ReadDir(directory)
	if err != nil {
		return fmt.Errorf("read inventory: %w", err)
	}
	for _, entry := range entries {
		name, path := entry.Name(), filepath.Join(directory, entry.Name())
		if strings.HasPrefix(name, ".") || name == "group_vars" || name == "host_vars" || name == "vars_plugins" || hasEnding(name, ignoredEndings()) {
			continue
		}
		if hasEnding(name, []string{".ini", ".cfg"}) {
			l.warn(expression.Position{}, path+" is left out, as Ansible leaves .ini and .cfg files in an inventory directory out; rename it or name it with its own -i")
			continue
		}
		info, err := os.Stat(path)
		switch {
		case err != nil:
			return fmt.Errorf("read inventory: %w", err)
		case info.IsDir():
			err = l.directory(path, depth+1)
		default:
			err = l.file(path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func ignoredEndings() []string {
	return []string{"~", ".bak", ".orig", ".retry", ".pyc", ".pyo", ".swp", ".rpm", ".md", ".txt", ".rst"}
}

func hasEnding(name string, endings []string) bool {
	for _, ending := range endings {
		if strings.HasSuffix(name, ending) {
			return true
		}
	}
	return false
}

// yamlStart is a first line that only a YAML inventory has. In an INI file a name that ends in a colon is an error.
var yamlStart = regexp.MustCompile(`^(---|\{|["']?[^\s\[\]#;="':]+["']?:(\s|$))`)

func (l *loader) file(path string) error {
	data, err := readFile(path)
	if err != nil {
		return err
	}
	ending := filepath.Ext(path)
	switch {
	case bytes.HasPrefix(data, []byte("#!")) || bytes.HasPrefix(data, []byte("\x7fELF")):
		return fmt.Errorf("inventory %s is a program; inventory programs are not supported yet: save the output of `ansible-inventory -i %s --list --yaml` to a file and use that", path, path)
	case ending == ".toml":
		return fmt.Errorf("inventory %s is TOML, which is not supported: save the output of `ansible-inventory -i %s --list --yaml` to a file and use that", path, path)
	case ending == ".yml" || ending == ".yaml" || ending == ".json":
		return l.yaml(path, data)
	case ending != ".ini" && yamlStart.MatchString(firstLine(string(data))):
		return l.yaml(path, data)
	}
	return l.ini(path, data)
}

// readFile reads a bounded file and refuses an encrypted one.
func readFile(path string) ([]byte, error) {
	data, err := bounded.ReadFile(path, maxFile)
	if err != nil {
		return nil, fmt.Errorf("read inventory: %w", err)
	}
	if bytes.HasPrefix(data, []byte("$ANSIBLE_VAULT;")) {
		return nil, fmt.Errorf("%s is encrypted with ansible-vault, which is not supported yet: decrypt it, or move the values into a file given with -e @FILE", path)
	}
	return data, nil
}

// firstLine is the first line that is neither empty nor a comment.
func firstLine(text string) string {
	for line := range strings.Lines(text) {
		trimmed := strings.TrimSpace(line)
		if trimmed != "" && trimmed[0] != '#' && trimmed[0] != ';' {
			return strings.TrimRight(line, "\r\n")
		}
	}
	return ""
}

// reconcile makes true what always holds: every group descends from "all", and "ungrouped" has exactly the hosts that
// no other group has.
func (l *loader) reconcile() {
	inv := l.inventory
	all, ungrouped := inv.named[groupAll], inv.named[groupUngrouped]
	for _, group := range inv.groups {
		if group != all && len(group.parents) == 0 {
			all.adopt(group)
		}
		if host, both := inv.byName[group.Name]; both {
			l.warn(host.At, fmt.Sprintf("%q is a host and a group; patterns take it as the host", group.Name))
		}
	}
	grouped := func(host *Host) bool {
		return slices.ContainsFunc(host.groups, func(g *Group) bool { return g != all && g != ungrouped })
	}
	ungrouped.hosts = slices.DeleteFunc(ungrouped.hosts, grouped)
	for _, host := range inv.hosts {
		if grouped(host) {
			host.groups = slices.DeleteFunc(host.groups, func(g *Group) bool { return g == ungrouped })
		} else {
			ungrouped.add(host)
		}
	}
	inv.measure()
}
