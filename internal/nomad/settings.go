// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/hcl/ast"
	"github.com/hashicorp/hcl/hcl/parser"
	hclstrconv "github.com/hashicorp/hcl/hcl/strconv"
	"github.com/hashicorp/hcl/hcl/token"
	jsonparser "github.com/hashicorp/hcl/json/parser"
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
	// Agents' files hold some dozens of blocks. The bound keeps the parser, which recurses, from running out of stack.
	maximumBlocks = 10_000
	maximumDepth  = 32
	// What is kept of one file: settings, and bytes of a value.
	maximumSettings = 500
	maximumValue    = 1000
)

// Deciding finds the setting that decides a key: as Nomad merges files, the last one that is not zero, or else the last one
// there is. "0", "" and false never override what came before. settings are in the order in which the agent reads them.
func Deciding(settings []Setting, key string) (Setting, bool) {
	var found *Setting
	for i := range settings {
		s := &settings[i]
		if s.Key != key {
			continue
		}
		if found == nil || !s.zero() || found.zero() {
			found = s
		}
	}
	if found == nil {
		return Setting{}, false
	}
	return *found, true
}

func (s *Setting) zero() bool {
	return s.Value == "0" || s.Value == "false" || s.Value == "" && !secretSetting(s.Key)
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
// the file's order. Where the file cannot be parsed, the list ends with a KeyUnread at the place. The parser's words are left
// out, since they may quote a secret.
func ReadSettings(file string, text []byte) []Setting {
	r := settingsReader{file: file}
	if isJSON(text) {
		r.json(text)
	} else if tree, err := parseConfig(text); err != nil {
		r.unread(parserLine(err))
	} else if root, ok := tree.Node.(*ast.ObjectList); ok {
		r.list(root, "", 0)
	}
	if len(r.found) > maximumSettings {
		line := r.found[maximumSettings].Line
		r.found = r.found[:maximumSettings]
		r.unread(line)
	}
	return r.found
}

// parseConfig parses HCL1 or JSON.
func parseConfig(text []byte) (*ast.File, error) {
	if bytes.Count(text, []byte("{"))+bytes.Count(text, []byte("[")) > maximumBlocks {
		return nil, fmt.Errorf("it has more than %d blocks and lists", maximumBlocks)
	}
	if isJSON(text) {
		return jsonparser.Parse(text)
	}
	return parser.ParseDontErrorOnDuplicateKeys(text)
}

// isJSON decides as Nomad's parser does: by the first character, not by the file's name.
func isJSON(text []byte) bool {
	return bytes.HasPrefix(bytes.TrimSpace(text), []byte("{"))
}

func parserLine(err error) int {
	var at *parser.PosError
	if errors.As(err, &at) {
		return at.Pos.Line
	}
	return 0
}

type settingsReader struct {
	file  string
	found []Setting
}

func (r *settingsReader) unread(line int) {
	r.found = append(r.found, Setting{Key: KeyUnread, File: r.file, Line: line})
}

// add keeps a setting that somebody asks for. A secret that is empty is not set.
func (r *settingsReader) add(key, value string, line int) {
	switch {
	case secretSetting(key):
		if value != "" {
			r.found = append(r.found, Setting{Key: key, File: r.file, Line: line})
		}
	case wantedSetting(key):
		value = strings.ToValidUTF8(value[:min(len(value), maximumValue)], "")
		r.found = append(r.found, Setting{Key: key, Value: value, File: r.file, Line: line})
	}
}

// block notes a plugin's block, which counts even when it is empty.
func (r *settingsReader) block(key string, line int) {
	if name, ok := strings.CutPrefix(key, "plugin."); ok && !strings.Contains(name, ".") {
		r.found = append(r.found, Setting{Key: key, File: r.file, Line: line})
	}
}

func (r *settingsReader) list(list *ast.ObjectList, prefix string, depth int) {
	for _, item := range list.Items {
		key := prefix
		for _, part := range item.Keys {
			key = joinKey(key, tokenText(part.Token))
			r.block(key, item.Pos().Line)
		}
		r.node(item.Val, key, item.Pos().Line, depth+1)
	}
}

func (r *settingsReader) node(node ast.Node, key string, line, depth int) {
	if depth > maximumDepth {
		r.unread(line)
		return
	}
	switch n := node.(type) {
	case *ast.ObjectType:
		r.list(n.List, key, depth)
	case *ast.LiteralType:
		r.add(key, tokenText(n.Token), line)
	case *ast.ListType:
		var values []string
		for _, element := range n.List {
			if literal, ok := element.(*ast.LiteralType); ok {
				values = append(values, tokenText(literal.Token))
			} else {
				r.node(element, key, element.Pos().Line, depth+1)
			}
		}
		if len(values) == len(n.List) {
			r.add(key, strings.Join(values, ","), line)
		}
	}
}

// tokenText is a token's text without quotes. The library's own function panics on what it cannot convert.
func tokenText(t token.Token) string {
	if t.Type != token.STRING {
		return strings.TrimSpace(t.Text)
	}
	text, err := hclstrconv.Unquote(t.Text)
	if err != nil {
		return t.Text
	}
	return text
}

func joinKey(prefix, name string) string {
	// Nomad's decoder does not look at the case of keys.
	if name = strings.ToLower(name); prefix == "" {
		return name
	}
	return prefix + "." + name
}

// json walks a JSON file itself, because the HCL parser drops the positions of JSON.
func (r *settingsReader) json(text []byte) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	counted, lines := int64(0), 1
	line := func() int {
		lines += bytes.Count(text[counted:decoder.InputOffset()], []byte("\n"))
		counted = decoder.InputOffset()
		return lines
	}
	if err := r.jsonValue(decoder, "", line, 0); err != nil {
		r.unread(line())
	}
}

func (r *settingsReader) jsonValue(decoder *json.Decoder, key string, line func() int, depth int) error {
	if depth > maximumDepth {
		return errors.New("too deep")
	}
	token, err := decoder.Token()
	if err != nil {
		return err
	}
	switch token {
	case json.Delim('{'):
		for decoder.More() {
			name, err := decoder.Token()
			if err != nil {
				return err
			}
			inner := joinKey(key, fmt.Sprint(name))
			r.block(inner, line())
			if err := r.jsonValue(decoder, inner, line, depth+1); err != nil {
				return err
			}
		}
		_, err = decoder.Token()
	case json.Delim('['):
		err = r.jsonList(decoder, key, line, depth)
	case nil:
	default:
		r.add(key, fmt.Sprint(token), line())
	}
	return err
}

// jsonList joins the words of a list; objects in it are the blocks of a repeated key.
func (r *settingsReader) jsonList(decoder *json.Decoder, key string, line func() int, depth int) error {
	words := settingsReader{file: r.file}
	at, before := line(), len(r.found)
	for decoder.More() {
		if err := r.jsonValue(decoder, key, line, depth+1); err != nil {
			return err
		}
	}
	if _, err := decoder.Token(); err != nil {
		return err
	}
	var values []string
	for _, s := range r.found[before:] {
		if s.Key != key {
			return nil
		}
		values = append(values, s.Value)
	}
	words.add(key, strings.Join(values, ","), at)
	r.found = append(r.found[:before], words.found...)
	return nil
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
	for i, word := range argv {
		name, value, given := strings.Cut(strings.TrimLeft(word, "-"), "=")
		if key := flagKey(name); key != "" && strings.HasPrefix(word, "-") {
			if !given && !strings.HasSuffix(key, "allow_unauthenticated") && i+1 < len(argv) {
				value = argv[i+1]
			}
			if secretSetting(key) {
				value = ""
			}
			settings = append(settings, Setting{Key: key, Value: value, File: execStart})
		}
	}
	return settings
}

func flagKey(name string) string {
	switch name {
	case "raft-protocol":
		return "server.raft_protocol"
	case "dc":
		return "datacenter"
	case "plugin-dir":
		return "plugin_dir"
	case "vault-token":
		return "vault.token"
	case "vault-allow-unauthenticated":
		return "vault.allow_unauthenticated"
	case "consul-allow-unauthenticated":
		return "consul.allow_unauthenticated"
	}
	return ""
}
