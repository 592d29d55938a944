// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"errors"
	"fmt"
	"strings"

	"drover/internal/agentconfig"
)

// Setting is one attribute of an agent's configuration files that a version's notes ask for. Secrets have no value here.
type Setting struct {
	Key   string `json:"key"` // as vault.token; labels of blocks count: plugin.raw_exec.config.no_cgroups
	Value string `json:"value,omitempty"`
	File  string `json:"file"`
	Line  int    `json:"line"` // from 1; 0: not known
}

const (
	// KeyUnread is the key of a Setting that says where a file could not be read any further.
	KeyUnread = "(unread)"
	// KeyPluginFile is the key of a Setting that names a program in the directory of plugins, which is its File.
	KeyPluginFile = "(plugin file)"

	execStart = "ExecStart"
	// What is kept of one file: settings, and bytes of a value.
	maximumSettings = 500
	maximumValue    = 1000
)

// Deciding finds the setting that decides a key, as Nomad merges files (see agentconfig.Deciding). settings are in the order in which the
// agent reads them, with the flags last.
func Deciding(settings []Setting, key string) (Setting, bool) {
	var same []agentconfig.Occurrence
	var from []Setting
	for _, s := range settings {
		if s.Key != key {
			continue
		}
		o := agentconfig.Occurrence{File: s.File, Line: len(from), Value: agentconfig.Value{Kind: agentconfig.String, Text: s.Value}}
		if s.File == execStart {
			o.File, o.Flag = "", execStart
		}
		if secretSetting(key) {
			o.Value.Text = "a secret, which is not kept"
		}
		same, from = append(same, o), append(from, s)
	}
	decides, ok := agentconfig.Deciding(same, strings.Split(key, "."))
	if !ok {
		return Setting{}, false
	}
	return from[decides.Line], true
}

// where says where a setting stands, for a person.
func (s *Setting) where() string {
	switch {
	case s.File == execStart:
		return "the unit's ExecStart"
	case s.Line == 0:
		return s.File
	}
	return fmt.Sprintf("%s:%d", s.File, s.Line)
}

// sets says what a setting sets, for a person.
func (s *Setting) sets() string {
	key := strings.TrimPrefix(s.Key, "server.")
	if s.Value == "" {
		return s.where() + " sets " + key
	}
	return s.where() + " sets " + key + " = " + s.Value
}

// ReadSettings lists the settings of one configuration file (HCL1 or JSON, as Nomad reads it) that version notes ask for, in
// the file's order. Where the file cannot be parsed, the list ends with a KeyUnread at the place.
func ReadSettings(file string, text []byte) []Setting {
	r := settingsReader{file: file}
	parsed, err := agentconfig.Parse(text)
	for _, entry := range parsed.Entries() {
		r.entry(entry)
	}
	if err != nil {
		var at *agentconfig.SyntaxError
		if errors.As(err, &at) {
			r.unread(at.Line)
		}
	}
	if len(r.found) > maximumSettings {
		line := r.found[maximumSettings].Line
		r.found = r.found[:maximumSettings]
		r.unread(line)
	}
	return r.found
}

type settingsReader struct {
	file  string
	found []Setting
}

func (r *settingsReader) unread(line int) {
	r.found = append(r.found, Setting{Key: KeyUnread, File: r.file, Line: line})
}

// entry keeps what somebody asks for. A plugin's block counts even when it is empty. A secret that is empty is not set.
func (r *settingsReader) entry(e agentconfig.Entry) {
	// Nomad's decoder does not look at the case of keys.
	key, value := strings.ToLower(strings.Join(e.Path, ".")), e.Value.Text
	switch {
	case e.Value.Kind == agentconfig.Null:
		return
	case len(e.Path) == 2 && strings.HasPrefix(key, "plugin.") && !strings.Contains(e.Path[1], "."):
		r.found = append(r.found, Setting{Key: key, File: r.file, Line: e.Line})
		return
	case e.Value.Kind == agentconfig.List:
		value = strings.Join(e.Value.List, ",")
	}
	switch {
	case e.Value.Kind == agentconfig.Block:
	case secretSetting(key):
		if value != "" {
			r.found = append(r.found, Setting{Key: key, File: r.file, Line: e.Line})
		}
	case wantedSetting(key):
		value = strings.ToValidUTF8(value[:min(len(value), maximumValue)], "")
		r.found = append(r.found, Setting{Key: key, Value: value, File: r.file, Line: e.Line})
	}
}

func secretSetting(key string) bool { return key == "vault.token" }

// wantedSetting tells whether a rule, or who edits configuration, asks for a key.
func wantedSetting(key string) bool {
	switch key {
	case "datacenter", "data_dir", "plugin_dir", "leave_on_interrupt", "leave_on_terminate",
		"server.raft_protocol", "server.rejoin_after_leave", "server.license_path", "server.raft_logstore.backend",
		"client.max_kill_timeout", "client.template.function_denylist", "client.template.function_blacklist",
		"client.options.fingerprint.denylist", "client.options.fingerprint.blacklist",
		"telemetry.disable_tagged_metrics", "telemetry.backwards_compatible_metrics",
		"tls.tls_prefer_server_cipher_suites", "plugin.raw_exec.config.no_cgroups",
		"vault.allow_unauthenticated", "vault.task_token_ttl", "consul.allow_unauthenticated":
		return true
	}
	return false
}

// flagSettings reads the flags of the agent's command line that beat its files.
func flagSettings(argv []string) []Setting {
	var settings []Setting
	for _, flag := range agentconfig.Flags(argv) {
		s := Setting{Key: strings.Join(flag.Path, "."), Value: flag.Value.Text, File: execStart}
		if secretSetting(s.Key) {
			s.Value = ""
		}
		if wantedSetting(s.Key) || secretSetting(s.Key) {
			settings = append(settings, s)
		}
	}
	return settings
}
