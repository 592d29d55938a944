// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"path"
	"slices"
	"strings"

	"drover/internal/agentconfig"
	"drover/internal/expression"
	"drover/internal/wire"
)

// copyConfig takes over the model's configuration and makes it the host's own.
func (in *installation) copyConfig(ctx context.Context, m *model) error {
	if len(m.agent.ConfigFiles) > maximumInstallFiles {
		return fmt.Errorf("%s has %d configuration files", m.name, len(m.agent.ConfigFiles))
	}
	if in.call.Args.String("unit_file") != "" && !slices.Equal(in.configs, m.agent.ConfigPaths) {
		return fmt.Errorf("unit_file reads the configuration from %s, and %s has it in %s: give config, or a unit that agrees",
			strings.Join(in.configs, " "), m.name, strings.Join(m.agent.ConfigPaths, " "))
	}
	var configs []installFile
	for _, name := range m.agent.ConfigFiles {
		f, err := m.read(ctx, name)
		if err != nil {
			return err
		}
		if f == nil {
			return fmt.Errorf("%s of %s has just gone", name, m.name)
		}
		f.config = true
		configs = append(configs, *f)
	}
	in.files = append(configs, in.files...)
	if err := in.ownName(); err != nil {
		return err
	}
	if err := in.ownAddresses(ctx, m); err != nil {
		return err
	}
	return in.copyCertificates(ctx, m)
}

// ownName replaces the model's node name, where the configuration gives one; else the agent takes that of its machine.
func (in *installation) ownName() error {
	return in.eachText(agentconfig.Path{"name"}, func(string) (string, error) { return in.call.Name, nil })
}

// addressKeys are where an agent's configuration names addresses of its own machine.
func addressKeys() []agentconfig.Path {
	keys := []agentconfig.Path{{"bind_addr"}}
	for _, protocol := range []string{"http", "rpc", "serf"} {
		keys = append(keys, agentconfig.Path{"addresses", protocol}, agentconfig.Path{"advertise", protocol})
	}
	return keys
}

// ownAddresses puts the host's address where the model's stands. Addresses in join lists stay: they are those of servers.
func (in *installation) ownAddresses(ctx context.Context, m *model) error {
	theirs, err := in.addressesOf(ctx, m.name, m.host)
	if err != nil {
		return err
	}
	for _, key := range addressKeys() {
		err := in.eachText(key, func(text string) (string, error) {
			for _, address := range theirs {
				if !mentions(text, address) {
					continue
				}
				own, err := in.ownAddress(ctx, address)
				if err != nil {
					return "", fmt.Errorf("the configuration of %s has its address %s at %s: %w", m.name, address, key, err)
				}
				return strings.ReplaceAll(text, address, own), nil
			}
			return text, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// mentions tells whether a text holds an address as a whole: 10.0.0.1 is not in 10.0.0.12.
func mentions(text, address string) bool {
	return slices.Contains(strings.FieldsFunc(text, func(r rune) bool {
		return !strings.ContainsRune("0123456789abcdefABCDEF.:", r)
	}), address) || strings.HasPrefix(text, address+":") || text == "["+address+"]" || strings.HasPrefix(text, "["+address+"]:")
}

// addressesOf are the addresses by which a host is known, loopback and link-local ones aside.
func (in *installation) addressesOf(ctx context.Context, name string, host Host) ([]string, error) {
	var addresses []string
	add := func(text string) {
		if ip := net.ParseIP(text); ip != nil && !ip.IsLoopback() && !ip.IsLinkLocalUnicast() && !slices.Contains(addresses, text) {
			addresses = append(addresses, text)
		}
	}
	add(in.variable(name, "ansible_host"))
	var reply wire.RunResult
	if err := host.Call(ctx, wire.Run{Argv: []string{"hostname", "-I"}}, nil, &reply); err != nil && !wire.IsKind(err, wire.KindNotFound) {
		return nil, err
	}
	for _, word := range strings.Fields(reply.Stdout) {
		add(word)
	}
	return addresses, nil
}

// ownAddress is the host's address that stands for one of the model's: of the same family, and the only one, or the one that the inventory names.
func (in *installation) ownAddress(ctx context.Context, theirs string) (string, error) {
	all, err := in.addressesOf(ctx, in.call.Name, in.call.Host)
	if err != nil {
		return "", err
	}
	four := func(text string) bool { return net.ParseIP(text).To4() != nil }
	all = slices.DeleteFunc(all, func(text string) bool { return four(text) != four(theirs) })
	named := in.variable(in.call.Name, "ansible_host")
	switch {
	case slices.Contains(all, named):
		return named, nil
	case len(all) == 1:
		return all[0], nil
	}
	return "", fmt.Errorf("%s has %d addresses (%s), and which of them stands there is not known: say it with set, or give config", in.call.Name, len(all), strings.Join(all, ", "))
}

// configuration is those of the files that Nomad reads as its configuration; what is changed in them is changed in the installation.
func (in *installation) configuration() []*installFile {
	var files []*installFile
	for i := range in.files {
		if in.files[i].config {
			files = append(files, &in.files[i])
		}
	}
	return files
}

// parsed is the content of a configuration file.
func (f *installFile) parsed() (*agentconfig.File, error) {
	parsed, err := agentconfig.Parse(f.content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.path, err)
	}
	return parsed, nil
}

// eachText edits the text at a key in every configuration file that sets it.
func (in *installation) eachText(key agentconfig.Path, edit func(string) (string, error)) error {
	for _, f := range in.configuration() {
		parsed, err := f.parsed()
		if err != nil {
			return err
		}
		entry, found := parsed.Last(key)
		if !found || entry.Value.Kind != agentconfig.String {
			continue
		}
		text, err := edit(entry.Value.Text)
		if err != nil {
			return err
		}
		if f.content, err = agentconfig.Set(f.content, key, agentconfig.Value{Kind: agentconfig.String, Text: text}); err != nil {
			return fmt.Errorf("%s: %w", f.path, err)
		}
	}
	return nil
}

// applySet changes the keys that the task sets, in the file that decides, else in the last one that has the key's block, else in the first.
func (in *installation) applySet() error {
	for name, value := range in.call.Args.Dict("set").All() {
		key, err := agentconfig.ParsePath(name)
		if err != nil {
			return fmt.Errorf("set: %w", err)
		}
		if value == nil {
			err = in.unset(key)
		} else {
			err = in.set(key, value)
		}
		if err != nil {
			return fmt.Errorf("set: %s: %w", name, err)
		}
	}
	return nil
}

func (in *installation) unset(key agentconfig.Path) error {
	for _, f := range in.configuration() {
		var err error
		if f.content, err = agentconfig.Unset(f.content, key); err != nil {
			return fmt.Errorf("%s: %w", f.path, err)
		}
	}
	return nil
}

func (in *installation) set(key agentconfig.Path, value any) error {
	wanted, err := agentconfig.ValueOf(expression.ToGo(value))
	if err != nil {
		return err
	}
	best, into := -1, (*installFile)(nil)
	for _, f := range in.configuration() {
		parsed, err := f.parsed()
		if err != nil {
			return err
		}
		nearness := 0
		if slices.ContainsFunc(parsed.Entries(), func(e agentconfig.Entry) bool { return len(key) > 1 && e.Path[0] == key[0] }) {
			nearness = 1
		}
		if _, found := parsed.Last(key); found {
			nearness = 2
		}
		if nearness > best || nearness == best && nearness > 0 {
			best, into = nearness, f
		}
	}
	if into == nil {
		return errors.New("there is no configuration file")
	}
	if into.content, err = agentconfig.Set(into.content, key, wanted); err != nil {
		return fmt.Errorf("%s: %w", into.path, err)
	}
	return nil
}

// text is what the configuration says at a key, as the last file has it that does not leave it empty.
func (in *installation) text(key ...string) (string, error) {
	found := ""
	for _, f := range in.configuration() {
		parsed, err := f.parsed()
		if err != nil {
			return "", err
		}
		if entry, ok := parsed.Last(key); ok && entry.Value.Text != "" {
			found = entry.Value.Text
		}
	}
	return found, nil
}

// copyCertificates takes over the files that tls names where the host does not have them: a Nomad agent's certificate is made
// out to its role and region.
func (in *installation) copyCertificates(ctx context.Context, m *model) error {
	for _, key := range []string{"ca_file", "cert_file", "key_file"} {
		name, err := in.text("tls", key)
		if err != nil {
			return err
		}
		if !path.IsAbs(name) {
			continue
		}
		var state wire.StatResult
		if err := in.call.Host.Call(ctx, wire.Stat{Path: name, Follow: true}, nil, &state); err != nil {
			return err
		}
		if !state.Exists {
			if err := in.copyAll(ctx, m, []string{name}); err != nil {
				return err
			}
		}
	}
	return nil
}

// composeDataDir finds the data directory in the configuration, and gives it the model's owner and mode.
func (in *installation) composeDataDir(ctx context.Context, m *model) error {
	var err error
	if in.dataDir, err = in.text("data_dir"); err != nil {
		return err
	}
	if !path.IsAbs(in.dataDir) {
		return errors.New("the configuration has no data_dir that is an absolute path")
	}
	in.dataOwner = installFile{path: in.dataDir, mode: 0o700, owner: cmp.Or(in.owner(), "root"), group: cmp.Or(in.group, in.owner(), "root")}
	if m == nil {
		return nil
	}
	var state wire.StatResult
	if err := m.host.Call(ctx, wire.Stat{Path: m.agent.DataDir, Follow: true}, nil, &state); err != nil {
		return err
	}
	if state.Exists && m.agent.DataDir != "" {
		in.dataOwner.mode, in.dataOwner.owner, in.dataOwner.group = state.Mode&0o7777, state.User, state.Group
	}
	return nil
}
