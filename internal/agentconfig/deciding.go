// SPDX-License-Identifier: MPL-2.0

package agentconfig

import (
	"fmt"
	"slices"
	"strings"
)

// Source is one file with its content.
type Source struct {
	Path string
	Text []byte
}

// Occurrence is one place that gives a key a value: a file, or a flag of the command line.
type Occurrence struct {
	File         string // "" for a flag
	Line, Column int
	Flag         string // as -raft-protocol
	Value        Value
}

// Where says where it is, for a person.
func (o Occurrence) Where() string {
	if o.Flag != "" {
		return "the flag " + o.Flag + " of ExecStart"
	}
	return fmt.Sprintf("%s:%d:%d", o.File, o.Line, o.Column)
}

// Occurrences lists everything that sets a key: the files in the order in which the agent loads them (a file may come twice), then the
// flags of argv.
func Occurrences(sources []Source, argv []string, path Path) ([]Occurrence, error) {
	var all []Occurrence
	for _, source := range sources {
		f, err := Parse(source.Text)
		if err != nil {
			return nil, fmt.Errorf("%s:%w", source.Path, err)
		}
		for _, e := range f.All(path) {
			all = append(all, Occurrence{File: source.Path, Line: e.Line, Column: e.Column, Value: e.Value})
		}
	}
	for _, flag := range Flags(argv) {
		if path.Equal(flag.Path) {
			all = append(all, Occurrence{Flag: "-" + flag.Name, Value: flag.Value})
		}
	}
	return all, nil
}

// Deciding picks the occurrence that counts, out of all of them in order: of one file the last, then over the files the last
// that is not zero (Nomad's merge, 1.2.6 to 1.11.0), or just the last where a zero counts (Path.ZeroCounts), and a flag before all files.
// Lists of several files are joined by Nomad for some keys and replaced for others; the last one is given here.
func Deciding(occurrences []Occurrence, path Path) (Occurrence, bool) {
	var decides *Occurrence
	for i := range occurrences {
		o := &occurrences[i]
		lastOfFile := i+1 == len(occurrences) || occurrences[i+1].File != o.File || o.Flag != ""
		if !lastOfFile || o.Flag != "" && o.Value.Zero() {
			continue
		}
		if decides == nil || !o.Value.Zero() || decides.Value.Zero() || path.ZeroCounts() {
			decides = o
		}
	}
	if decides == nil {
		return Occurrence{}, false
	}
	return *decides, true
}

// Flag is a flag of the command line that sets a key.
type Flag struct {
	Name  string // without dashes
	Path  Path
	Value Value
}

// Flags reads the flags of `nomad agent` that set a key. Go's flag package takes one dash or two, a value after = or a space, and ends at
// the first word that is no flag.
func Flags(argv []string) []Flag {
	var found []Flag
	at := slices.Index(argv, "agent")
	for i := at + 1; at >= 0 && i < len(argv); i++ {
		name, text, given := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(argv[i], "-"), "-"), "=")
		if !strings.HasPrefix(argv[i], "-") || name == "" {
			break
		}
		v := Value{Kind: String}
		switch {
		case isSwitch(name):
			v.Kind = Bool
			if !given {
				text = "true"
			}
		case !given && i+1 < len(argv):
			i++
			text = argv[i]
		}
		if v.Text = text; name == "retry-join" || name == "join" || name == "servers" {
			v = Value{Kind: List, List: []string{text}}
		}
		if key := flagKey(name); key != "" {
			found = append(found, Flag{name, strings.Split(key, "."), v})
		}
	}
	return found
}

// isSwitch tells whether a flag of `nomad agent` takes no word after it.
func isSwitch(name string) bool {
	switch name {
	case "dev", "dev-connect", "dev-consul", "dev-vault", "server", "client", "rejoin", "log-json", "log-include-location", "eventlog", "acl-enabled",
		"consul-auto-advertise", "consul-checks-use-advertise", "consul-ssl", "consul-verify-ssl", "consul-share-ssl",
		"consul-server-auto-join", "consul-client-auto-join", "consul-allow-unauthenticated",
		"vault-enabled", "vault-allow-unauthenticated", "vault-tls-skip-verify":
		return true
	}
	return false
}

// flagKey is the key that a flag of `nomad agent` sets (1.2.6 to 1.11.0); "" for those that set none.
func flagKey(name string) string {
	switch name {
	case "server", "client":
		return name + ".enabled"
	case "bootstrap-expect", "raft-protocol", "encrypt":
		return "server." + strings.ReplaceAll(name, "-", "_")
	case "rejoin":
		return "server.rejoin_after_leave"
	case "retry-join", "retry-max", "retry-interval":
		return "server.server_join." + strings.ReplaceAll(name, "-", "_")
	case "join":
		return "server.server_join.start_join"
	case "state-dir", "alloc-dir", "alloc-mounts-dir", "host-volumes-dir", "host-volume-plugin-dir", "node-class", "node-pool", "servers",
		"network-interface", "network-speed", "preferred-address-family":
		return "client." + strings.ReplaceAll(name, "-", "_")
	case "client-intro-token":
		return "client.intro_token"
	case "bind":
		return "bind_addr"
	case "dc":
		return "datacenter"
	case "node":
		return "name"
	case "region", "data-dir", "plugin-dir", "log-level", "log-json", "log-include-location":
		return strings.ReplaceAll(name, "-", "_")
	case "eventlog":
		return "eventlog.enabled"
	case "eventlog-level":
		return "eventlog.level"
	case "acl-enabled", "acl-replication-token":
		return "acl." + strings.ReplaceAll(strings.TrimPrefix(name, "acl-"), "-", "_")
	case "vault-create-from-role":
		return "vault.create_from_role"
	}
	for _, block := range []string{"consul", "vault"} {
		if key, ok := strings.CutPrefix(name, block+"-"); ok {
			return block + "." + strings.ReplaceAll(key, "-", "_")
		}
	}
	return ""
}
