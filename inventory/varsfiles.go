// SPDX-License-Identifier: MPL-2.0

package inventory

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"drover/internal/expression"
)

// varsFiles holds what the group_vars and host_vars directories say.
type varsFiles struct {
	inventory []*varsDirectory // one per source, in their order
	playbook  []*varsDirectory // none or one
}

// varsDirectory is one directory that may have group_vars and host_vars in it.
type varsDirectory struct {
	path   string
	groups map[string]*expression.Map
	hosts  map[string]*expression.Map
	loader *loader
}

// findVars reads the variable files of every host and group that is known now.
func (l *loader) findVars(options Options) (*varsFiles, error) {
	files := &varsFiles{}
	for _, source := range options.Sources {
		info, err := os.Stat(source)
		if err != nil {
			continue // a list of names has no directory
		}
		directory := source
		if !info.IsDir() {
			directory = filepath.Dir(source)
		}
		files.inventory = append(files.inventory, l.varsDirectory(directory))
	}
	if options.PlaybookDir != "" {
		files.playbook = append(files.playbook, l.varsDirectory(options.PlaybookDir))
	}
	for _, group := range l.inventory.groups {
		if err := files.loadGroup(group.Name); err != nil {
			return nil, err
		}
	}
	for _, host := range l.inventory.hosts {
		if err := files.loadHost(host.Name); err != nil {
			return nil, err
		}
	}
	return files, nil
}

func (l *loader) varsDirectory(path string) *varsDirectory {
	return &varsDirectory{path: path, loader: l, groups: map[string]*expression.Map{}, hosts: map[string]*expression.Map{}}
}

func (f *varsFiles) all() []*varsDirectory {
	return append(append([]*varsDirectory{}, f.inventory...), f.playbook...)
}

func (f *varsFiles) loadGroup(name string) error {
	for _, directory := range f.all() {
		vars, err := directory.read("group_vars", name)
		if err != nil {
			return err
		}
		directory.groups[name] = vars
	}
	return nil
}

func (f *varsFiles) loadHost(name string) error {
	for _, directory := range f.all() {
		vars, err := directory.read("host_vars", name)
		if err != nil {
			return err
		}
		directory.hosts[name] = vars
	}
	return nil
}

func (f *varsFiles) inventoryGroups(groups []*Group) []*expression.Map {
	return groupLayers(f.inventory, groups)
}

func (f *varsFiles) playbookGroups(groups []*Group) []*expression.Map {
	return groupLayers(f.playbook, groups)
}

func groupLayers(directories []*varsDirectory, groups []*Group) []*expression.Map {
	var layers []*expression.Map
	for _, directory := range directories {
		for _, group := range groups {
			layers = append(layers, directory.groups[group.Name])
		}
	}
	return layers
}

func (f *varsFiles) hostLayers(name string) []*expression.Map {
	var layers []*expression.Map
	for _, directory := range f.all() {
		layers = append(layers, directory.hosts[name])
	}
	return layers
}

// read merges the files for one name. The first of NAME, NAME.yml, NAME.yaml and NAME.json that exists counts; where it is a
// directory, all files in it count, in the order of their names.
func (d *varsDirectory) read(kind, name string) (*expression.Map, error) {
	vars := expression.NewMap()
	if strings.ContainsAny(name, "/\x00") {
		return vars, nil
	}
	base := filepath.Join(d.path, kind, name)
	used := ""
	for _, ending := range append([]string{""}, yamlEndings()...) {
		info, err := os.Stat(base + ending)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read variables: %w", err)
		}
		if used != "" {
			d.loader.warn(expression.Position{}, fmt.Sprintf("%s is not read, because %s exists", base+ending, used))
			continue
		}
		used = base + ending
		if info.IsDir() {
			err = d.readDirectory(used, vars, 0)
		} else {
			err = d.readFile(used, vars)
		}
		if err != nil {
			return nil, err
		}
	}
	return vars, nil
}

func yamlEndings() []string { return []string{".yml", ".yaml", ".json"} }

func (d *varsDirectory) readDirectory(directory string, vars *expression.Map, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("read variables %s: nested deeper than %d directories", directory, maxDepth)
	}
	entries, err := os.ReadDir(directory)
	if err != nil {
		return fmt.Errorf("read variables: %w", err)
	}
	for _, entry := range entries {
		name, path := entry.Name(), filepath.Join(directory, entry.Name())
		ending := filepath.Ext(name)
		if strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~") {
			continue
		}
		info, err := os.Stat(path)
		switch {
		case err != nil:
			return fmt.Errorf("read variables: %w", err)
		case info.IsDir() && ending == "":
			err = d.readDirectory(path, vars, depth+1)
		case info.Mode().IsRegular() && (ending == "" || hasEnding(name, yamlEndings())):
			err = d.readFile(path, vars)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *varsDirectory) readFile(path string, vars *expression.Map) error {
	data, err := readFile(path)
	if err != nil {
		return err
	}
	return d.loader.variables(path, data, vars)
}
