// SPDX-License-Identifier: MPL-2.0

package journal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"drover/internal/bounded"
	"drover/internal/expression"
	"drover/internal/secret"
)

// Manifest is what was asked of a run, frozen before it starts: plan.json.
type Manifest struct {
	Version  int       `json:"version"` // of this format
	Run      string    `json:"run"`
	Command  string    `json:"command"` // upgrade, run or exec
	Target   string    `json:"target"`  // what it is about, for a list: "Nomad 1.11.0", a playbook, a command line
	Started  time.Time `json:"started"`
	By       By        `json:"by"`
	Drover   Drover    `json:"drover"`
	Playbook *Playbook `json:"playbook,omitempty"` // nil: exec has none
	Argv     []string  `json:"argv,omitempty"`     // exec: the command, credentials masked
	Inventory
	// Variables are those given with -e and those that the command adds, secrets masked.
	Variables *expression.Map `json:"variables,omitempty"`
	Options   Options         `json:"options"`
	Accepted  []Risk          `json:"accepted_risks"`
	// Plan is the plan of an upgrade that the person was shown, as `drover plan --output json` prints it.
	Plan     json.RawMessage `json:"plan,omitempty"`
	Binaries []Binary        `json:"binaries,omitempty"`
}

// By is who ran it, and where.
type By struct {
	User      string `json:"user"`
	Machine   string `json:"machine"`
	Directory string `json:"directory"` // relative names are from there
	PID       int    `json:"pid"`
}

// Drover is the program that ran.
type Drover struct {
	Version string `json:"version"`
	Source  string `json:"source"` // hash of the source that it and its agents were built from
}

// Playbook is a playbook as it was.
type Playbook struct {
	File   string `json:"file"`
	Ready  bool   `json:"ready,omitempty"` // one of drover's own
	SHA256 string `json:"sha256"`          // of the text before secrets were masked, lower-case hex
	Text   string `json:"text"`
}

// Inventory is who was there.
type Inventory struct {
	Sources []string `json:"inventory_sources"`
	Hosts   []string `json:"hosts"` // after --limit, in inventory order
	// Resolved has the shape of `ansible-inventory --list`, secrets masked.
	Resolved *expression.Map `json:"inventory"`
}

// Options are the options of the run, by their flags' names.
type Options struct {
	Limit         string   `json:"limit,omitempty"`
	Tags          []string `json:"tags,omitempty"`
	SkipTags      []string `json:"skip_tags,omitempty"`
	StartAtTask   string   `json:"start_at_task,omitempty"`
	Check         bool     `json:"check,omitempty"`
	Diff          bool     `json:"diff,omitempty"`
	Forks         int      `json:"forks"`
	ForceHandlers bool     `json:"force_handlers,omitempty"`
	Become        bool     `json:"become,omitempty"`
	BecomeUser    string   `json:"become_user,omitempty"`
	User          string   `json:"user,omitempty"`
}

// Risk is a risk that somebody accepted, by the flag that says so.
type Risk struct {
	Flag    string `json:"flag"`
	Accepts string `json:"accepts"`
}

// Binary is a file that the run was given to put on hosts.
type Binary struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"` // lower-case hex
}

// largestManifest bounds plan.json, in bytes.
const largestManifest = 256 << 20

// encode masks secrets and writes indented JSON, which diff and people can read.
func (m Manifest) encode(secrets *secret.Redactor) ([]byte, error) {
	m.Variables, m.Resolved = masked(m.Variables, secrets), masked(m.Resolved, secrets)
	m.Target = secrets.Clean(m.Target)
	if m.Playbook != nil {
		book := *m.Playbook
		book.Text = secrets.Clean(book.Text)
		m.Playbook = &book
	}
	argv := make([]string, len(m.Argv))
	for i, word := range m.Argv {
		argv[i] = secrets.Clean(word)
	}
	m.Argv = argv
	if m.Accepted == nil {
		m.Accepted = []Risk{}
	}
	if len(m.Plan) > 0 {
		plan, err := expression.DecodeJSON(m.Plan)
		if err != nil {
			return nil, fmt.Errorf("the plan: %w", err)
		}
		if m.Plan, err = json.Marshal(mask(plan, secrets, 0)); err != nil {
			return nil, err
		}
	}
	text, err := json.MarshalIndent(m, "", "  ")
	return append(text, '\n'), err
}

// masked is a copy of variables without secrets, by their names and by what is known.
func masked(variables *expression.Map, secrets *secret.Redactor) *expression.Map {
	if variables == nil {
		return nil
	}
	copied, _ := mask(variables, secrets, 0).(*expression.Map)
	return copied
}

// deepest bounds how deep variables are nested.
const deepest = 64

func mask(value any, secrets *secret.Redactor, depth int) any {
	if depth > deepest {
		return "..."
	}
	switch v := value.(type) {
	case string:
		return secrets.Clean(v)
	case []any:
		list := make([]any, len(v))
		for i, item := range v {
			list[i] = mask(item, secrets, depth+1)
		}
		return list
	case *expression.Map:
		copied := expression.NewMap()
		for name, item := range v.All() {
			if secret.Named(name) && secret.Holds(item) {
				item = secret.Hidden
			}
			copied.Set(name, mask(item, secrets, depth+1))
		}
		return copied
	}
	return value
}

// readManifest reads the plan.json of a directory.
func readManifest(dir string) (Manifest, error) {
	path := filepath.Join(dir, PlanFile)
	text, err := bounded.ReadFile(path, largestManifest)
	if err != nil {
		return Manifest{}, err
	}
	var m Manifest
	decoder := json.NewDecoder(bytes.NewReader(text))
	switch err := decoder.Decode(&m); {
	case err != nil:
		return Manifest{}, fmt.Errorf("%s is damaged: %w", path, err)
	case decoder.Decode(new(any)) != io.EOF: //nolint:errorlint // a decoder returns it as it is
		return Manifest{}, fmt.Errorf("%s is damaged: something follows the record", path)
	case m.Version != Version:
		return Manifest{}, fmt.Errorf("%s has format version %d and this drover reads %d: use the drover that wrote it, or a newer one", path, m.Version, Version)
	}
	return m, nil
}
