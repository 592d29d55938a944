// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"drover/internal/bounded"
	"drover/internal/expression"
	"drover/internal/wire"
)

const (
	// defaultBinary and defaultConfigDir are the places of HashiCorp's deployment guide.
	defaultBinary    = "/usr/local/bin/nomad"
	defaultConfigDir = "/etc/nomad.d"
	// unitDirectory is the administrator's, which comes before those of packages.
	unitDirectory = "/etc/systemd/system"
	// maximumInstallFile bounds one configuration file, certificate or unit, in bytes.
	maximumInstallFile = 1 << 20
	// maximumInstallFiles bounds how many there are.
	maximumInstallFiles = 100
)

// compose works out everything that the host is to have. It only reads.
func (in *installation) compose(ctx context.Context) error {
	var machine wire.FactsResult
	if err := in.call.Host.Call(ctx, wire.Facts{}, nil, &machine); err != nil {
		return fmt.Errorf("ask the host what it is: %w", err)
	}
	if !machine.Systemd {
		return refuse("%s: this host is not run by systemd, and drover stops and starts Nomad through systemd", in.call.Name)
	}
	in.machine = machine.Arch
	var m *model
	if from := in.call.Args.String("from"); from != "" {
		var err error
		if m, err = in.model(ctx, from); err != nil {
			return fmt.Errorf("take %s as the model for %s: %w", from, in.call.Name, err)
		}
	}
	if err := in.composeUnit(ctx, m); err != nil {
		return err
	}
	if in.call.Args.String("config") != "" {
		if err := in.composeConfig(ctx); err != nil {
			return err
		}
	} else if err := in.copyConfig(ctx, m); err != nil {
		return err
	} else if err := in.joinServers(); err != nil {
		return err
	}
	if err := in.applySet(); err != nil {
		return err
	}
	return in.composeDataDir(ctx, m)
}

// model is the host that a new one is to be like.
type model struct {
	name  string
	host  Host
	agent wire.AgentResult
}

func (in *installation) model(ctx context.Context, name string) (*model, error) {
	if !slices.Contains(in.call.Fleet.Names("all"), name) {
		return nil, fmt.Errorf("the inventory has no host %s", name)
	}
	host, err := in.host(ctx, name)
	if err != nil {
		return nil, err
	}
	agent, err := agentOf(ctx, host, in.cluster.unit(name))
	if err != nil {
		return nil, err
	}
	if len(agent.ConfigFiles) == 0 {
		return nil, fmt.Errorf("its unit %s reads no configuration files", agent.Unit.Name)
	}
	return &model{name: name, host: host, agent: agent}, nil
}

// read takes over a file of the model with its owner and mode; nil where there is none.
func (m *model) read(ctx context.Context, from string) (*installFile, error) {
	var state wire.StatResult
	if err := m.host.Call(ctx, wire.Stat{Path: from, Follow: true}, nil, &state); err != nil {
		return nil, err
	}
	if !state.Exists || state.Type != "file" {
		return nil, nil
	}
	var content bytes.Buffer
	if err := m.host.Receive(ctx, wire.Read{Path: from, Max: maximumInstallFile}, &wire.ReadResult{}, &content); err != nil {
		return nil, fmt.Errorf("read %s: %w", from, err)
	}
	return &installFile{path: from, content: content.Bytes(), mode: state.Mode & 0o7777, owner: state.User, group: state.Group}, nil
}

// composeUnit decides on the unit, and takes from it where binary and configuration go and whose they are.
func (in *installation) composeUnit(ctx context.Context, m *model) error {
	place := path.Join(unitDirectory, in.unit)
	if given := in.call.Args.String("unit_file"); given != "" {
		source, err := findPath(in.call, given)
		if err != nil {
			return err
		}
		text, err := in.sourceFile(ctx, source)
		if err != nil {
			return err
		}
		in.units = []installFile{{path: place, content: text, mode: 0o644}}
		return in.readUnit(string(text), given)
	}
	if m == nil {
		in.binary = cmp.Or(in.call.Args.String("binary_path"), defaultBinary)
		in.configs = []string{cmp.Or(in.call.Args.String("config_dir"), defaultConfigDir)}
		in.units = []installFile{{path: place, content: []byte(packagedUnit(in.binary, in.configs[0], in.target.AtLeast("1.8.0"))), mode: 0o644}}
		return nil
	}
	unit := m.agent.Unit
	in.binary, in.configs, in.user, in.group = unit.ExecStartPath, m.agent.ConfigPaths, unit.User, unit.Group
	text, err := m.read(ctx, unit.FragmentPath)
	if err != nil {
		return err
	}
	if text == nil {
		return fmt.Errorf("the unit file of %s on %s cannot be read: name one with unit_file", unit.Name, m.name)
	}
	in.units = []installFile{{path: place, content: text.content, mode: 0o644}}
	for _, dropIn := range unit.DropInPaths {
		if strings.HasPrefix(dropIn, "/run/") {
			continue // it lasts until the next boot, and is not what the unit is like
		}
		f, err := m.read(ctx, dropIn)
		if err != nil {
			return err
		}
		if f != nil {
			in.units = append(in.units, installFile{path: path.Join(place+".d", path.Base(dropIn)), content: f.content, mode: 0o644})
		}
	}
	return in.copyAll(ctx, m, unit.EnvironmentFiles)
}

// copyAll takes over files of the model as they are.
func (in *installation) copyAll(ctx context.Context, m *model, paths []string) error {
	for _, name := range paths {
		f, err := m.read(ctx, name)
		if err != nil {
			return err
		}
		if f != nil {
			in.files = append(in.files, *f)
		}
	}
	return nil
}

// readUnit finds binary, configuration and user in a unit file's text. It reads what unit files of Nomad have; systemd
// itself has the last word when the agent is started.
func (in *installation) readUnit(text, name string) error {
	var argv []string
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		key, value, found := strings.Cut(strings.TrimSpace(line), "=")
		switch value = strings.TrimSpace(value); {
		case !found:
		case key == "ExecStart":
			argv = strings.Fields(value)
		case key == "User":
			in.user = value
		case key == "Group":
			in.group = value
		}
	}
	for i := 1; i < len(argv); i++ {
		flag, value, inline := strings.Cut(strings.TrimLeft(argv[i], "-"), "=")
		if flag != "config" || !strings.HasPrefix(argv[i], "-") {
			continue
		}
		if !inline && i+1 < len(argv) {
			value = argv[i+1]
		}
		in.configs = append(in.configs, strings.Trim(value, `"'`))
	}
	if len(argv) == 0 || len(in.configs) == 0 || !slices.Contains(argv, "agent") {
		return fmt.Errorf("unit_file %s has no ExecStart of the form BINARY agent -config PATH", name)
	}
	if in.binary = strings.TrimLeft(argv[0], "-@:+!"); !path.IsAbs(in.binary) {
		return fmt.Errorf("unit_file %s: the program of ExecStart, %q, is no absolute path", name, in.binary)
	}
	return nil
}

// packagedUnit is a unit with the settings of HashiCorp's packages; since 1.8 they have Type=notify.
func packagedUnit(binary, config string, notify bool) string {
	kind := "simple"
	if notify {
		kind = "notify"
	}
	return fmt.Sprintf(`[Unit]
Description=Nomad
Documentation=https://developer.hashicorp.com/nomad/docs
Wants=network-online.target
After=network-online.target

[Service]
Type=%s
EnvironmentFile=-%s/nomad.env
ExecReload=/bin/kill -HUP $MAINPID
ExecStart=%s agent -config %s
KillMode=process
KillSignal=SIGINT
LimitNOFILE=65536
LimitNPROC=infinity
Restart=on-failure
RestartSec=2
OOMScoreAdjust=-1000
TasksMax=infinity

[Install]
WantedBy=multi-user.target
`, kind, config, binary, config)
}

// composeConfig reads the configuration from this machine.
func (in *installation) composeConfig(ctx context.Context) error {
	given := in.call.Args.String("config")
	source, err := findPath(in.call, given)
	if err != nil {
		return err
	}
	info, err := os.Stat(source)
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	names := []string{source}
	if info.IsDir() {
		if names, err = configSources(source); err != nil {
			return err
		}
	}
	for _, name := range names {
		text, err := in.sourceFile(ctx, name)
		if err != nil {
			return err
		}
		base := strings.TrimSuffix(filepath.Base(name), ".j2")
		place := in.configs[0]
		if !strings.HasSuffix(place, ".hcl") && !strings.HasSuffix(place, ".json") {
			place = path.Join(place, base)
		}
		in.files = append(in.files, installFile{path: place, content: text, mode: 0o640, owner: in.owner(), group: in.group, config: true})
	}
	return nil
}

// configSources are the configuration files of a directory on this machine, in the order in which an agent reads them.
func configSources(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	var names []string
	for _, entry := range entries {
		kind := path.Ext(strings.TrimSuffix(entry.Name(), ".j2"))
		if !entry.IsDir() && (kind == ".hcl" || kind == ".json") {
			names = append(names, filepath.Join(dir, entry.Name()))
		}
	}
	if len(names) == 0 || len(names) > maximumInstallFiles {
		return nil, fmt.Errorf("config: %s holds %d configuration files (*.hcl, *.json, with or without .j2)", dir, len(names))
	}
	return names, nil
}

// sourceFile reads a file of this machine, and renders one that ends in .j2. Others stay as they are, since Nomad's own address templates are written with braces too.
func (in *installation) sourceFile(ctx context.Context, name string) ([]byte, error) {
	text, err := bounded.ReadFile(name, maximumInstallFile)
	if err != nil || !strings.HasSuffix(name, ".j2") {
		return text, err
	}
	template, err := expression.ParseTemplate(string(text), expression.Position{File: name, Line: 1, Column: 1})
	if err != nil {
		return nil, err
	}
	value, err := template.Render(ctx, in.call.Vars, expression.Budget{})
	if err != nil {
		return nil, err
	}
	return contentText(value)
}

func (in *installation) owner() string {
	return cmp.Or(in.call.Args.String("owner"), in.user)
}

// parents makes the directories above a file.
func (in *installation) parents(ctx context.Context, name string) error {
	mode := uint32(0o755)
	var state wire.StatResult
	dir := path.Dir(name)
	if err := in.call.Host.Call(ctx, wire.Stat{Path: dir, Follow: true}, nil, &state); err != nil || state.Exists {
		return err
	}
	return in.call.Host.Call(ctx, wire.File{Path: dir, State: "directory", Mode: &mode}, nil, &wire.FileResult{})
}

// directory makes the data directory; one that exists keeps what it is.
func (in *installation) directory(ctx context.Context, d installFile) error {
	var state wire.StatResult
	if err := in.call.Host.Call(ctx, wire.Stat{Path: d.path, Follow: true}, nil, &state); err != nil || state.Exists {
		return err
	}
	in.changes = append(in.changes, d.path)
	if in.call.Check {
		return nil
	}
	request := wire.File{Path: d.path, State: "directory", Mode: &d.mode, Owner: d.owner, Group: d.group}
	if err := in.call.Host.Call(ctx, request, nil, &wire.FileResult{}); err != nil {
		return fmt.Errorf("make the data directory of %s: %w", in.call.Name, err)
	}
	return nil
}

// holds tells whether the host has a file with this content.
func (in *installation) holds(ctx context.Context, f installFile) (bool, error) {
	var state wire.StatResult
	err := in.call.Host.Call(ctx, wire.Stat{Path: f.path, Follow: true, Hash: true}, nil, &state)
	return state.Exists && state.SHA256 == hashOf(f.content), err
}

func hashOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// write lands one file where its content differs. What was there is kept beside it.
func (in *installation) write(ctx context.Context, f installFile) error {
	if same, err := in.holds(ctx, f); err != nil || same {
		return err
	}
	in.changes = append(in.changes, f.path)
	if in.call.Check {
		return nil
	}
	if err := in.parents(ctx, f.path); err != nil {
		return err
	}
	request := wire.Write{
		Path: f.path, Size: int64(len(f.content)), SHA256: hashOf(f.content), Mode: &f.mode, Backup: true,
		Owner: cmp.Or(f.owner, "root"), Group: cmp.Or(f.group, f.owner, "root"),
	}
	if err := in.call.Host.Call(ctx, request, bytes.NewReader(f.content), &wire.WriteResult{}); err != nil {
		return fmt.Errorf("write %s on %s: %w", f.path, in.call.Name, err)
	}
	return nil
}
