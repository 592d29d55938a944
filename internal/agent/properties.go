// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"encoding/hex"
)

// properties are a unit's as D-Bus gives them. One that is missing, because this systemd is older, is empty.
type properties map[string]any

func (p properties) text(name string) string {
	text, _ := p[name].(string)
	return text
}

func (p properties) flag(name string) bool {
	flag, _ := p[name].(bool)
	return flag
}

// firstSet is the first of some flags that is set; "" when none is.
func (p properties) firstSet(names ...string) string {
	for _, name := range names {
		if p.flag(name) {
			return name
		}
	}
	return ""
}

func (p properties) list(name string) []string {
	list, _ := p[name].([]string)
	return list
}

func (p properties) number(name string) uint64 {
	switch number := p[name].(type) {
	case uint64:
		return number
	case uint32:
		return uint64(number)
	case int32:
		return uint64(number)
	}
	return 0
}

func (p properties) hex(name string) string {
	bytes, _ := p[name].([]byte)
	return hex.EncodeToString(bytes)
}

// job is the number of the unit's queued job, from the pair of number and object path.
func (p properties) job() uint32 {
	pair, _ := p["Job"].([]any)
	if len(pair) == 0 {
		return 0
	}
	id, _ := pair[0].(uint32)
	return id
}

type execCommand struct {
	path string
	argv []string
}

// commands reads ExecStart= and its like: a list of structures that begin with path and argv.
func (p properties) commands(name string) []execCommand {
	var commands []execCommand
	list, _ := p[name].([][]any)
	for _, one := range list {
		if len(one) < 2 {
			continue
		}
		path, _ := one[0].(string)
		argv, _ := one[1].([]string)
		commands = append(commands, execCommand{path, argv})
	}
	return commands
}

// envFiles reads EnvironmentFiles: pairs of path and whether it may be missing.
func (p properties) envFiles() []envFile {
	var files []envFile
	list, _ := p["EnvironmentFiles"].([][]any)
	for _, one := range list {
		if len(one) < 2 {
			continue
		}
		path, _ := one[0].(string)
		optional, _ := one[1].(bool)
		files = append(files, envFile{path, optional})
	}
	return files
}
