// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"drover/internal/agentconfig"
	"drover/internal/expression"
	"drover/internal/nearest"
	"drover/internal/nomad"
	"drover/internal/wire"
)

func nomadConfigModule() Module {
	return Module{
		Name:  "nomad_config",
		Short: "Set one key of a Nomad agent's configuration, in the file that decides",
		Doc: "Finds out which file gives a key its value, by Nomad's rules: the paths of -config in order, the files of a directory in the order of their names, the last value that " +
			"is not zero, flags of the command line before all files. That file is edited, HCL or JSON: the bytes of the value are replaced, and all others stay as they are, with comments and line ends. Where nobody sets the key it is put " +
			"into its block in the last file that has one, else at the end of the last file. The result is parsed again and compared, tried with `config validate` of the installed binary (Nomad 1.3 and later), and lands whole, with the owner and mode of before.\n\n" +
			"Refused, with nothing written: a flag in ExecStart that decides otherwise; a file that cannot be parsed; a file that changed meanwhile; lists that several files set; a plugin that several files configure. " +
			"Nothing is restarted or reloaded: the agent reads its files when it starts. state: effective, after that, asks the running agent and fails where the value is another. " +
			"Keys are written with dots: server.raft_protocol, client.options.driver.raw_exec.enable, plugin.docker.config.allow_privileged. " + unitDoc,
		Args: []Arg{
			{Name: "key", Kind: String, Required: true, Doc: "The key, with its blocks: server.raft_protocol."},
			{Name: "value", Kind: Any, Doc: "A boolean, a number, a text or a list of texts. Needed unless state is absent."},
			{Name: "secret", Kind: String, Secret: true, Doc: "The value, where it is a secret."},
			{Name: "state", Kind: String, Default: "present", Choices: []string{"present", "absent", "effective"}, Doc: "present sets the key, absent takes it out of every file (of the drop-in only, with where: dropin), effective only compares with what the running agent says, and is skipped under --check."},
			{Name: "where", Kind: String, Default: "deciding", Choices: []string{"deciding", "dropin"}, Doc: "Edit the file that decides, or write a file of its own into a directory that -config names."},
			{Name: "dropin", Kind: String, Default: "zz-drover.hcl", Doc: "The name of that file. It must sort behind every file that sets the key."},
			{Name: "backup", Kind: Boolean, Default: false, Doc: "Keep the previous content beside the file. Nomad loads no backups."},
			{Name: "validate", Kind: Boolean, Default: true, Doc: "Try the configuration with the installed binary before anything lands."},
		},
		Exclusive: [][]string{{"value", "secret"}},
		Check:     CheckFull,
		Diff:      true,
		Returns: []Arg{
			{Name: "key", Kind: String, Doc: "The key."},
			{Name: "files", Kind: List, Doc: "The files that changed."},
			{Name: "backup_files", Kind: List, Doc: "Where their previous contents are kept."},
			{Name: "validate", Kind: String, Doc: "How `config validate` went: ok, warned, absent (before Nomad 1.3) or skipped."},
		},
		Example: `- nomad_config:
    key: server.raft_protocol
    value: 3
    backup: true
- nomad_config:
    key: telemetry.publish_allocation_metrics
    value: true
    where: dropin`,
		Run: nomadConfig,
	}
}

// configEdit is one execution of nomad_config.
type configEdit struct {
	call    *Call
	agent   wire.AgentResult
	sources []agentconfig.Source
	sums    map[string]string // SHA-256 of the files as they were read
	key     agentconfig.Path
	want    *agentconfig.Value // nil: the key shall not be set
}

func nomadConfig(ctx context.Context, call *Call) (*Result, error) {
	e := &configEdit{call: call, sums: map[string]string{}}
	if err := e.arguments(); err != nil {
		return nil, err
	}
	if call.Args.String("state") == "effective" {
		return e.effective(ctx)
	}
	if err := e.read(ctx); err != nil {
		return nil, err
	}
	edits, err := e.edits(ctx)
	if err != nil {
		return nil, e.refused(err)
	}
	result := &Result{Changed: len(edits) > 0, Message: e.describe(edits)}
	if call.Diff {
		result.Diff = e.diff(edits)
	}
	validated := "skipped"
	if len(edits) > 0 && !call.Check && call.Args.Bool("validate") {
		if validated, err = e.validate(ctx, edits); err != nil {
			return nil, err
		}
	}
	var backups []string
	if !call.Check {
		if backups, err = e.land(ctx, edits); err != nil {
			return nil, err
		}
	}
	files := []any{}
	for _, edit := range edits {
		files = append(files, edit.Path)
	}
	kept := []any{}
	for _, name := range backups {
		kept = append(kept, name)
	}
	result.Data = expression.MapOf("key", e.key.String(), "files", files, "backup_files", kept, "validate", validated)
	return result, nil
}

func (e *configEdit) arguments() error {
	args := e.call.Args
	var err error
	if e.key, err = agentconfig.ParsePath(args.String("key")); err != nil {
		return err
	}
	if hint := unknownBlock(e.key); hint != "" {
		return fmt.Errorf("key %s: Nomad has no block %q; %s", e.key, e.key[0], hint)
	}
	given := args.Has("value") || args.Has("secret")
	switch absent := args.String("state") == "absent"; {
	case absent && given:
		return errors.New("state absent takes no value")
	case absent:
		return nil
	case !given:
		return fmt.Errorf("%s needs a value (or state: absent)", e.key)
	}
	value := expression.ToGo(args.Any("value"))
	if args.Has("secret") {
		value = args.String("secret")
	}
	want, err := agentconfig.ValueOf(value)
	if err != nil {
		return fmt.Errorf("value of %s: %w", e.key, err)
	}
	e.want = &want
	return nil
}

// unknownBlock hints at the block that was meant, where a key begins with something very like one. Nomad's blocks change with its
// versions, so that what looks like none of them is let through.
func unknownBlock(key agentconfig.Path) string {
	known := []string{
		"acl", "addresses", "advertise", "audit", "autopilot", "client", "consul", "keyring", "limits", "plugin", "ports", "reporting", "rpc",
		"sentinel", "server", "telemetry", "tls", "ui", "vault", "eventlog",
	}
	if len(key) == 1 || slices.ContainsFunc(known, func(name string) bool { return strings.EqualFold(name, key[0]) }) {
		return ""
	}
	return nearest.Hint(key[0], known)
}

// edits decides which files change, and how.
func (e *configEdit) edits(ctx context.Context) ([]agentconfig.Edit, error) {
	if e.call.Args.String("where") == "deciding" {
		return agentconfig.Edits(e.sources, agentCommand(e.agent), e.key, e.want)
	}
	directory, err := e.directory(ctx)
	if err != nil {
		return nil, err
	}
	return agentconfig.DropIn(e.sources, agentCommand(e.agent), directory, e.call.Args.String("dropin"), e.key, e.want)
}

// directory is the last directory that -config names.
func (e *configEdit) directory(ctx context.Context) (string, error) {
	for _, name := range slices.Backward(e.agent.ConfigPaths) {
		var there wire.StatResult
		if err := e.call.Host.Call(ctx, wire.Stat{Path: name, Follow: true}, nil, &there); err != nil {
			return "", fmt.Errorf("look at %s: %w", name, err)
		}
		if there.Type == "directory" {
			return name, nil
		}
	}
	return "", fmt.Errorf("no -config of %s is a directory, so that a drop-in would not be loaded: use where: deciding", e.agent.Unit.Name)
}

// refused tells apart what would not take effect from what went wrong.
func (e *configEdit) refused(err error) error {
	var flag *agentconfig.FlagError
	if errors.As(err, &flag) {
		return refuse("%s on %s: %w; nothing was written", e.agent.Unit.Name, e.call.Name, err)
	}
	return fmt.Errorf("set %s on %s: %w; nothing was written", e.key, e.call.Name, err)
}

// shown is the wanted value for a person.
func (e *configEdit) shown() string {
	if e.key.Secret() || e.call.Args.Has("secret") {
		return "(hidden)"
	}
	return e.want.String()
}

func (e *configEdit) describe(edits []agentconfig.Edit) string {
	would := ""
	if e.call.Check {
		would = "would be "
	}
	var names []string
	for _, edit := range edits {
		names = append(names, path.Base(edit.Path))
	}
	in := strings.Join(names, ", ")
	switch {
	case e.want == nil && len(edits) == 0:
		return e.key.String() + " is not set"
	case e.want == nil:
		return fmt.Sprintf("%s %staken out of %s", e.key, would, in)
	case len(edits) == 0:
		return fmt.Sprintf("%s is %s already", e.key, e.shown())
	}
	return fmt.Sprintf("%s %sset to %s in %s", e.key, would, e.shown(), in)
}

// diff shows the files with their secrets hidden.
func (e *configEdit) diff(edits []agentconfig.Edit) string {
	var b strings.Builder
	for _, edit := range edits {
		before, after := agentconfig.Hide(edit.Before), agentconfig.Hide(edit.After)
		if before == after {
			fmt.Fprintf(&b, "%s: the value of %s changes; it is a secret\n", edit.Path, e.key)
			continue
		}
		b.WriteString(unified(edit.Path, before, after))
	}
	return b.String()
}

// effective compares with what the running agent says.
func (e *configEdit) effective(ctx context.Context) (*Result, error) {
	if e.call.Check {
		return &Result{Skipped: true, Message: "would ask the running agent, were this not a check"}, nil
	}
	c := newCluster(e.call)
	defer c.close()
	facts, err := c.look(ctx, e.call.Name)
	if err != nil {
		return nil, err
	}
	if !facts.Answers {
		return nil, fmt.Errorf("the agent on %s does not answer, so that nothing proves what it runs with: %s", e.call.Name, facts.Problem)
	}
	client, err := c.connectTo(ctx, e.call.Name, facts.API, facts.Server, facts.Region)
	if err != nil {
		return nil, err
	}
	value, found, err := nomad.Effective(ctx, client, e.key)
	switch {
	case err != nil:
		return nil, fmt.Errorf("ask the agent on %s for %s: %w", e.call.Name, e.key, err)
	case !found:
		return nil, fmt.Errorf("the agent on %s does not show %s, so that its value cannot be proven", e.call.Name, e.key)
	case nomad.SameSetting(value, *e.want):
		return &Result{Message: fmt.Sprintf("the running agent has %s = %s", e.key, e.shown())}, nil
	}
	has := value.String()
	if e.shown() != e.want.String() {
		has = "another value"
	}
	return nil, fmt.Errorf("the running agent on %s has %s = %s, not %s: it reads its files when it starts", e.call.Name, e.key, has, e.shown())
}
