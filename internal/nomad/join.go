// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"drover/internal/agentconfig"
)

// joinKeys are where an agent's configuration names the servers that it looks for when it starts (Nomad 1.2 to 1.11).
func joinKeys() []agentconfig.Path {
	keys := []agentconfig.Path{{"server", "retry_join"}, {"server", "start_join"}, {"client", "servers"}}
	for _, role := range []string{"server", "client"} {
		keys = append(keys, agentconfig.Path{role, "server_join", "retry_join"}, agentconfig.Path{role, "server_join", "start_join"})
	}
	return keys
}

// Stale is a place in an agent's configuration that names servers which are gone.
type Stale struct {
	Where string   // file:line:column, or the flag
	Key   string   // as server.server_join.retry_join
	Names []string // the entries, as they are written
	Flag  bool     // of the command line, which drover does not edit
}

func (s Stale) String() string {
	return fmt.Sprintf("%s: %s names %s", s.Where, s.Key, strings.Join(s.Names, ", "))
}

// StaleJoins finds the lists of servers that name one of those that are gone, by any of its addresses. argv is the agent's command line.
func StaleJoins(sources []agentconfig.Source, argv []string, gone []string) ([]Stale, error) {
	var stale []Stale
	for _, key := range joinKeys() {
		all, err := agentconfig.Occurrences(sources, argv, key)
		if err != nil {
			return nil, err
		}
		for _, o := range all {
			names := slices.DeleteFunc(slices.Clone(o.Value.List), func(entry string) bool { return !sameHost(entry, gone) })
			if len(names) > 0 {
				stale = append(stale, Stale{Where: o.Where(), Key: key.String(), Names: names, Flag: o.Flag != ""})
			}
		}
	}
	return stale, nil
}

// RenewJoins takes those that are gone out of the lists that name them, and puts the new ones in their places. Lists that name none of them, as those that
// hold go-discover's providers only, stay as they are.
func RenewJoins(sources []agentconfig.Source, gone, joining []string) ([]agentconfig.Edit, error) {
	return editJoins(sources, func(list []string) []string {
		if !slices.ContainsFunc(list, func(entry string) bool { return sameHost(entry, gone) }) {
			return list
		}
		return renewed(list, gone, joining)
	})
}

// ExtendJoins adds servers to every list that names servers by address or name.
func ExtendJoins(sources []agentconfig.Source, joining []string) ([]agentconfig.Edit, error) {
	return editJoins(sources, func(list []string) []string {
		if len(list) == 0 || slices.ContainsFunc(list, func(entry string) bool { return strings.Contains(entry, "provider=") }) {
			return list
		}
		return renewed(list, nil, joining)
	})
}

func editJoins(sources []agentconfig.Source, change func([]string) []string) ([]agentconfig.Edit, error) {
	var edits []agentconfig.Edit
	for _, source := range sources {
		text := source.Text
		for _, key := range joinKeys() {
			parsed, err := agentconfig.Parse(text)
			if err != nil {
				return nil, fmt.Errorf("%s:%w", source.Path, err)
			}
			entry, found := parsed.Last(key)
			if !found || entry.Value.Kind != agentconfig.List {
				continue
			}
			list := change(entry.Value.List)
			if slices.Equal(list, entry.Value.List) {
				continue
			}
			if text, err = agentconfig.Set(text, key, agentconfig.Value{Kind: agentconfig.List, List: list}); err != nil {
				return nil, fmt.Errorf("%s: %w", source.Path, err)
			}
		}
		if string(text) != string(source.Text) {
			edits = append(edits, agentconfig.Edit{Path: source.Path, Before: source.Text, After: text})
		}
	}
	return edits, nil
}

// renewed is a list without those that are gone and with the new ones, which get the port that the list's entries have.
func renewed(list, gone, joining []string) []string {
	port := ""
	var kept []string
	for _, entry := range list {
		if _, found, err := net.SplitHostPort(entry); err == nil && port == "" {
			port = found
		}
		if !sameHost(entry, gone) {
			kept = append(kept, entry)
		}
	}
	for _, address := range joining {
		if slices.ContainsFunc(kept, func(entry string) bool { return sameHost(entry, []string{address}) }) {
			continue
		}
		if port != "" {
			address = net.JoinHostPort(address, port)
		}
		kept = append(kept, address)
	}
	return kept
}

// NamesServers tells whether a server's configuration has a list of servers to look for.
func NamesServers(sources []agentconfig.Source) bool {
	for _, source := range sources {
		parsed, err := agentconfig.Parse(source.Text)
		if err != nil {
			continue
		}
		for _, key := range joinKeys() {
			if entry, found := parsed.Last(key); found && key[0] == "server" && entry.Value.Kind == agentconfig.List && len(entry.Value.List) > 0 {
				return true
			}
		}
	}
	return false
}
