// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"drover/internal/expression"
	"drover/internal/nomad"
	"drover/internal/release"
	"drover/internal/wire"
)

func nomadInstallModule() Module {
	return Module{
		Name:  "nomad_install",
		Short: "Install a Nomad agent, server or client, on a host that has none, without starting it",
		Doc: "Brings the binary (checked as nomad_stage does), the configuration, the data directory and the unit to a host that has no Nomad yet. nomad_start starts it.\n\n" +
			"With from, another host is the model: its configuration files, its environment files, the certificates that tls names where the host lacks them, its unit with drop-ins, and owner and mode of its " +
			"data directory. The copy gets the host's own name; addresses of the model in bind_addr, addresses and advertise become the host's own. With config, the configuration is a file or directory of this machine " +
			"instead; a file whose name ends in .j2 is a template, and is rendered with the host's variables. set changes single keys of either.\n\n" +
			"A host whose unit exists is left alone when it names the same binary, data directory and version, and refused when it does not. Refused too: a data directory with something in it, since " +
			"the agent would take up an earlier life; another file in the binary's place; configuration files in the agent's directory that are not part of this installation. The new binary has to accept the configuration. " +
			"The unit file lands last: where there is none, nothing can start. Interrupted, it is run again. " + unitDoc,
		Args: append([]Arg{
			versionArg(),
			{Name: "from", Kind: String, Doc: "The host whose configuration and unit are the model. Its agent need not run."},
			{Name: "config", Kind: Path, Doc: "A configuration file, or a directory of them (*.hcl, *.json, *.j2), beside the playbook or absolute."},
			{Name: "join", Kind: List, Doc: "Servers, by host, that the lists of servers in a configuration taken over with from are to name, too: those that come into the cluster with this one."},
			{Name: "set", Kind: Dict, Doc: "Keys of the configuration and their values, as {server.bootstrap_expect: 3}; null removes the key."},
			{Name: "unit_file", Kind: Path, Doc: "The unit file, beside the playbook or absolute. Without it: that of from, else one like that of HashiCorp's packages."},
			{Name: "binary_path", Kind: Path, Doc: "Where the binary goes when unit_file and from do not say; default /usr/local/bin/nomad."},
			{Name: "config_dir", Kind: Path, Doc: "Where configuration files of this machine go when the unit does not say; default /etc/nomad.d."},
			{Name: "owner", Kind: String, Doc: "The owner of the data directory and of the configuration files of this machine; default: the unit's user."},
		}, binaryArgs()...),
		Exclusive: [][]string{binarySources()},
		Check:     CheckFull,
		Returns: []Arg{
			{Name: "binary", Kind: Path, Doc: "Where the binary is."},
			{Name: "unit", Kind: String, Doc: "The unit."},
			{Name: "config_files", Kind: List, Doc: "The configuration files, in the order in which the agent reads them."},
			{Name: "data_dir", Kind: Path, Doc: "The data directory."},
		},
		Example: `- nomad_install:
    version: 1.11.0
    from: c1`,
		Run: nomadInstall,
	}
}

// installation is what a host is to have, and one execution of nomad_install.
type installation struct {
	*cluster
	target    nomad.Version
	unit      string
	machine   string // as uname -m
	binary    string // path on the host
	user      string // of the unit; "": root
	group     string
	configs   []string      // values of -config
	files     []installFile // configuration, in reading order, then what else the agent reads
	units     []installFile // the unit and its drop-ins
	dataDir   string
	dataOwner installFile // path, mode and owner of the data directory
	changes   []string
}

// installFile is one file to be.
type installFile struct {
	path         string
	content      []byte
	mode         uint32
	owner, group string // "": root
	config       bool   // a configuration file
}

func nomadInstall(ctx context.Context, call *Call) (*Result, error) {
	in := &installation{cluster: newCluster(call), unit: ""}
	defer in.close()
	var err error
	if in.target, err = targetVersion(call); err != nil {
		return nil, err
	}
	if call.Args.String("from") == "" && call.Args.String("config") == "" {
		return nil, errors.New("say where the configuration comes from: from (a host that is the model) or config (files of this machine)")
	}
	in.unit = in.cluster.unit(call.Name)
	if err := in.compose(ctx); err != nil {
		return nil, err
	}
	there, err := in.survey(ctx)
	if err != nil {
		return nil, err
	}
	if there {
		differs, err := in.differing(ctx)
		if err != nil {
			return nil, err
		}
		message := "Nomad " + in.target.String() + " is installed already"
		if len(differs) > 0 {
			message += "; its configuration is another one than this installation has (" + strings.Join(differs, ", ") + ") and was left as it is: nomad_config edits it"
			if facts, known := in.facts(call.Name); !known || !facts.Server { // a server's data is raft's, and its vote hangs on it
				message += "; to install it anew, stop it, then remove the unit and the data directory"
			}
		}
		return in.result(message), nil
	}
	if err := in.install(ctx); err != nil {
		return nil, err
	}
	if len(in.changes) == 0 {
		return in.result("Nomad " + in.target.String() + " is installed already, and has not been started"), nil
	}
	if call.Check {
		return in.result("would install " + strings.Join(in.changes, ", ")), nil
	}
	return in.result(fmt.Sprintf("Nomad %s is installed and not started: %s", in.target, strings.Join(in.changes, ", "))), nil
}

func (in *installation) result(message string) *Result {
	return &Result{Changed: len(in.changes) > 0, Message: message, Data: expression.MapOf(
		"binary", in.binary, "unit", in.unit, "config_files", expression.FromGo(in.configFiles()), "data_dir", in.dataDir,
	)}
}

func (in *installation) configFiles() []string {
	paths := []string{}
	for _, f := range in.configuration() {
		paths = append(paths, f.path)
	}
	return paths
}

// survey looks at the host before anything is written: there means that this very agent is installed, and has been started at least once.
func (in *installation) survey(ctx context.Context) (there bool, err error) {
	agent, err := agentOf(ctx, in.call.Host, in.unit)
	if err == nil && agent.BinaryStat.Exists {
		return in.compare(ctx, agent)
	}
	if err == nil {
		return false, refuse("%s: %s is there and its program %s is not, so nothing was changed; remove the unit, or repair it", in.call.Name, in.unit, agent.Binary)
	}
	if !wire.IsKind(err, wire.KindNotFound) {
		return false, fmt.Errorf("look at %s on %s (nothing was changed): %w", in.unit, in.call.Name, err)
	}
	var unit wire.UnitState
	if err := in.call.Host.Call(ctx, wire.Unit{Name: in.unit}, nil, &unit); err != nil {
		return false, err
	}
	if unit.LoadState != "not-found" {
		return false, refuse("%s: %s exists (%s) and its program cannot be looked at, so nothing was changed; remove the unit, or repair it", in.call.Name, in.unit, unit.LoadState)
	}
	if err := in.vacant(ctx); err != nil {
		return false, err
	}
	return false, in.userExists(ctx)
}

// compare judges a host that has the unit.
func (in *installation) compare(ctx context.Context, agent wire.AgentResult) (there bool, err error) {
	version, _ := nomad.ParseVersionOutput(agent.BinaryVersion)
	differs := func(what, is, should string) error {
		return refuse("%s: %s is there already with the %s %s, and this installation has %s; nothing was changed. nomad_install changes no agent that exists: "+
			"nomad_swap brings another version, nomad_config edits the configuration; to make the host anew, remove the unit and the data directory first", in.call.Name, in.unit, what, is, should)
	}
	switch {
	case agent.Unit.ExecStartPath != in.binary:
		return false, differs("binary", agent.Unit.ExecStartPath, in.binary)
	case agent.DataDir != in.dataDir:
		return false, differs("data directory", orNone(agent.DataDir), in.dataDir)
	case !version.Same(in.target):
		return false, differs("version", orNone(version.String()), in.target.String())
	}
	if agent.Running {
		return true, nil
	}
	content, err := in.contentOf(ctx, in.dataDir)
	return content != "", err
}

func orNone(text string) string {
	if text == "" {
		return "(none)"
	}
	return text
}

// differing are the configuration files of the host that are not as this installation has them.
func (in *installation) differing(ctx context.Context) ([]string, error) {
	var names []string
	for _, f := range in.configuration() {
		same, err := in.holds(ctx, *f)
		if err != nil {
			return nil, err
		}
		if !same {
			names = append(names, f.path)
		}
	}
	return names, nil
}

// vacant refuses a host on which something lies where the agent's own is to be.
func (in *installation) vacant(ctx context.Context) error {
	content, err := in.contentOf(ctx, in.dataDir)
	if err != nil {
		return err
	}
	if content != "" {
		return refuse("%s: the data directory %s is not empty (%s): a new agent would take up the identity and state of an earlier one; nothing was changed; move it away and run again",
			in.call.Name, in.dataDir, content)
	}
	ours := in.configFiles()
	for _, dir := range in.configs {
		found, err := in.list(ctx, dir, "-type", "f", "(", "-name", "*.hcl", "-o", "-name", "*.json", ")")
		if err != nil {
			return err
		}
		for _, file := range found {
			if file != dir && !slices.Contains(ours, file) {
				return refuse("%s: %s is there, and the agent would read it along with the files of this installation; nothing was changed; remove or rename it and run again", in.call.Name, file)
			}
		}
	}
	return nil
}

// contentOf is a path within a directory, "" when it is empty, as a new filesystem is too, or does not exist.
func (in *installation) contentOf(ctx context.Context, dir string) (string, error) {
	found, err := in.list(ctx, dir, "-mindepth", "1", "!", "-name", "lost+found")
	if err != nil || len(found) == 0 {
		return "", err
	}
	return found[0], nil
}

// list finds what is directly in a directory; one that does not exist holds nothing.
func (in *installation) list(ctx context.Context, dir string, conditions ...string) ([]string, error) {
	var state wire.StatResult
	if err := in.call.Host.Call(ctx, wire.Stat{Path: dir, Follow: true}, nil, &state); err != nil || !state.Exists {
		return nil, err
	}
	var reply wire.RunResult
	argv := append([]string{"find", dir + "/", "-maxdepth", "1"}, conditions...)
	if state.Type != "directory" {
		argv[1] = dir
	}
	if err := in.call.Host.Call(ctx, wire.Run{Argv: argv}, nil, &reply); err != nil {
		return nil, fmt.Errorf("look into %s on %s: %w", dir, in.call.Name, err)
	}
	if reply.RC != 0 {
		return nil, fmt.Errorf("look into %s on %s: %s", dir, in.call.Name, firstLines(reply.Stderr, 1))
	}
	var found []string
	for line := range strings.Lines(reply.Stdout) {
		found = append(found, path.Clean(strings.TrimSuffix(line, "\n")))
	}
	slices.Sort(found)
	return found, nil
}

// userExists refuses a unit whose user the host does not have.
func (in *installation) userExists(ctx context.Context) error {
	if in.user == "" || in.user == "root" {
		return nil
	}
	var reply wire.RunResult
	if err := in.call.Host.Call(ctx, wire.Run{Argv: []string{"id", "-u", in.user}}, nil, &reply); err != nil {
		return err
	}
	if reply.RC != 0 {
		return refuse("%s: the unit runs as the user %s, which this host does not have; nothing was changed; make the user and run again", in.call.Name, in.user)
	}
	return nil
}

// install writes what is missing, in an order in which an interruption at any point leaves nothing that could start.
func (in *installation) install(ctx context.Context) error {
	if err := in.installBinary(ctx); err != nil {
		return err
	}
	if err := in.directory(ctx, in.dataOwner); err != nil {
		return err
	}
	for _, f := range in.files {
		if err := in.write(ctx, f); err != nil {
			return err
		}
	}
	if !in.call.Check {
		if err := in.validate(ctx); err != nil {
			return err
		}
	}
	before := len(in.changes)
	// The unit itself comes last: without it the drop-ins do nothing.
	for _, f := range slices.Backward(in.units) {
		if err := in.write(ctx, f); err != nil {
			return err
		}
	}
	if in.call.Check || len(in.changes) == before {
		return nil
	}
	return in.call.Host.Call(ctx, wire.UnitControl{Name: in.unit, DaemonReload: true, Unguarded: true}, nil, &wire.UnitControlResult{})
}

// installBinary brings the binary, and proves that it is the promised version.
func (in *installation) installBinary(ctx context.Context) error {
	binary, err := prepareBinary(ctx, in.call, in.target, in.machine)
	if err != nil {
		return err
	}
	var there wire.StatResult
	if err := in.call.Host.Call(ctx, wire.Stat{Path: in.binary, Follow: true, Hash: true}, nil, &there); err != nil {
		return err
	}
	if there.Exists && there.SHA256 != binary.SHA256 {
		return refuse("%s: %s is there and is another file than Nomad %s; nothing was changed; remove it, or choose another place with binary_path", in.call.Name, in.binary, in.target)
	}
	if !there.Exists {
		in.changes = append(in.changes, in.binary)
	}
	if in.call.Check {
		return nil
	}
	if !there.Exists {
		if err := in.parents(ctx, in.binary); err != nil {
			return err
		}
		if err := in.sendBinary(ctx, binary); err != nil {
			return err
		}
	}
	var said wire.RunResult
	if err := in.call.Host.Call(ctx, wire.Run{Argv: []string{in.binary, "version"}}, nil, &said); err != nil {
		return fmt.Errorf("try %s on %s: %w", in.binary, in.call.Name, err)
	}
	if version, err := nomad.ParseVersionOutput(firstLines(said.Stdout, 1)); err != nil || !version.Same(in.target) {
		return fmt.Errorf("%s: %s says %q, not Nomad v%s; no unit was made; remove it and name the right binary", in.call.Name, in.binary, firstLines(said.Stdout+said.Stderr, 1), in.target)
	}
	return nil
}

func (in *installation) sendBinary(ctx context.Context, binary release.Binary) error {
	file, err := os.Open(binary.Compressed)
	if err != nil {
		return err
	}
	defer file.Close()
	mode := uint32(0o755)
	request := wire.Write{Path: in.binary, Size: binary.Size, SHA256: binary.SHA256, Encoding: "zstd", Mode: &mode, Owner: "root", Group: "root"}
	if err := in.call.Host.Call(ctx, request, file, &wire.WriteResult{}); err != nil {
		return fmt.Errorf("install Nomad %s on %s: %w", in.target, in.call.Name, err)
	}
	return nil
}

// validate tries the configuration with the new binary. Nomad before 1.3 has no such command and ends with code 127.
func (in *installation) validate(ctx context.Context) error {
	argv := append([]string{in.binary, "config", "validate"}, in.configs...)
	var reply wire.RunResult
	if err := in.call.Host.Call(ctx, wire.Run{Argv: argv, User: in.user, Group: in.group}, nil, &reply); err != nil {
		return fmt.Errorf("try the configuration on %s: %w", in.call.Name, err)
	}
	if reply.RC != 0 && reply.RC != 127 {
		return fmt.Errorf("%s: Nomad %s rejects the configuration %s: %s; the files are there and no unit was made, so nothing can start; correct their source and run again",
			in.call.Name, in.target, strings.Join(in.configs, " "), firstLines(reply.Stdout+"\n"+reply.Stderr, 8))
	}
	return nil
}

// firstLines are the first lines of a text that are not empty, as one line.
func firstLines(text string, n int) string {
	var found []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && len(found) < n {
			found = append(found, line)
		}
	}
	return strings.Join(found, "; ")
}
