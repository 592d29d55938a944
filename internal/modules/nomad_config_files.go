// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"drover/internal/agentconfig"
	"drover/internal/wire"
)

// read asks the host for the agent's configuration files, in the order in which it loads them.
func (e *configEdit) read(ctx context.Context) error {
	c := newCluster(e.call)
	defer c.close()
	var err error
	if e.agent, err = agentOf(ctx, e.call.Host, c.unit(e.call.Name)); err != nil {
		return fmt.Errorf("look at %s: %w", c.unit(e.call.Name), err)
	}
	if e.sources, err = readSources(ctx, e.call.Host, e.agent.ConfigFiles); err != nil {
		return fmt.Errorf("%w; nothing was written", err)
	}
	for _, source := range e.sources {
		e.sums[source.Path] = sumOf(source.Text)
	}
	return nil
}

// readSources reads configuration files, in the order given.
func readSources(ctx context.Context, host Host, files []string) ([]agentconfig.Source, error) {
	var sources []agentconfig.Source
	for _, file := range files {
		var content bytes.Buffer
		var reply wire.ReadResult
		if err := host.Receive(ctx, wire.Read{Path: file, Max: maximumConfig}, &reply, &content); err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		sources = append(sources, agentconfig.Source{Path: file, Text: content.Bytes()})
	}
	return sources, nil
}

// agentCommand is the agent's command line: ExecStart, or that of the running process where ExecStart holds variables.
func agentCommand(agent wire.AgentResult) []string {
	if len(agent.Cmdline) > 0 && strings.Contains(strings.Join(agent.Unit.ExecStart, " "), "$") {
		return agent.Cmdline
	}
	return agent.Unit.ExecStart
}

func sumOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// land writes the files. Each lands whole, and only over what was read.
func (e *configEdit) land(ctx context.Context, edits []agentconfig.Edit) (backups []string, err error) {
	for i, edit := range edits {
		request := wire.Write{
			Path: edit.Path, Size: int64(len(edit.After)), SHA256: sumOf(edit.After),
			Replaces: e.sums[edit.Path], Backup: e.call.Args.Bool("backup"),
		}
		if edit.Before == nil {
			if err := e.asNeighbour(ctx, &request); err != nil {
				return backups, err
			}
		}
		var reply wire.WriteResult
		err := e.call.Host.Call(ctx, request, bytes.NewReader(edit.After), &reply)
		if err == nil && !reply.Changed {
			err = errors.New("it has appeared since the directory was read; run again")
		}
		if err != nil {
			return backups, fmt.Errorf("write %s: %w%s", edit.Path, err, written(edits[:i]))
		}
		if reply.Backup != "" {
			backups = append(backups, reply.Backup)
		}
	}
	return backups, nil
}

// written says what has landed before something failed.
func written(edits []agentconfig.Edit) string {
	if len(edits) == 0 {
		return "; nothing was written"
	}
	var names []string
	for _, edit := range edits {
		names = append(names, edit.Path)
	}
	return "; these have changed already: " + strings.Join(names, ", ")
}

// asNeighbour gives a new file the owner and mode of the configuration beside it, or the directory's owner.
func (e *configEdit) asNeighbour(ctx context.Context, request *wire.Write) error {
	request.NoClobber, request.Backup = true, false
	like, mode := path.Dir(request.Path), uint32(0o640)
	for _, source := range e.sources {
		if path.Dir(source.Path) == path.Dir(request.Path) {
			like = source.Path
		}
	}
	var there wire.StatResult
	if err := e.call.Host.Call(ctx, wire.Stat{Path: like, Follow: true}, nil, &there); err != nil {
		return fmt.Errorf("look at %s: %w; nothing was written", like, err)
	}
	if there.Type == "file" {
		mode = there.Mode
	}
	request.Mode = &mode
	request.Owner, request.Group = fmt.Sprint(there.UID), fmt.Sprint(there.GID)
	return nil
}

// validateTimeout bounds the trial and what is taken away after it.
const validateTimeout = time.Minute

// validate tries the whole configuration, with the edits, with the installed binary: as copies in a directory that only the unit's user
// can read, in the order in which the agent loads the files.
func (e *configEdit) validate(ctx context.Context, edits []agentconfig.Edit) (outcome string, err error) {
	ctx, cancel := context.WithTimeout(ctx, validateTimeout)
	defer cancel()
	host, user, group := e.call.Host, e.agent.Unit.User, e.agent.Unit.Group
	// The name is that of the unit, which one run at a time holds: what a killed run has left goes with the next trial.
	directory := "/run/drover-config-" + e.agent.Unit.Name
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), validateTimeout)
		defer cancel()
		var reply wire.FileResult
		if gone := host.Call(ctx, wire.File{Path: directory, State: "absent"}, nil, &reply); gone != nil && err == nil {
			err = fmt.Errorf("remove %s, which holds copies of the configuration: %w; nothing was written", directory, gone)
		}
	}()
	private, readable := uint32(0o700), uint32(0o600)
	var made wire.FileResult
	if err := host.Call(ctx, wire.File{Path: directory, State: "directory", Mode: &private, Owner: user, Group: group}, nil, &made); err != nil {
		return "", fmt.Errorf("make %s to try the configuration in: %w; nothing was written", directory, err)
	}
	argv := []string{e.agent.Binary, "config", "validate"}
	for i, source := range withEdits(e.sources, edits) {
		name := fmt.Sprintf("%s/%03d-%s", directory, i, path.Base(source.Path))
		request := wire.Write{Path: name, Size: int64(len(source.Text)), SHA256: sumOf(source.Text), Mode: &readable, Owner: user, Group: group}
		var reply wire.WriteResult
		if err := host.Call(ctx, request, bytes.NewReader(source.Text), &reply); err != nil {
			return "", fmt.Errorf("copy %s to try it: %w; nothing was written", source.Path, err)
		}
		argv = append(argv, name)
	}
	var ended wire.RunResult
	if err := host.Call(ctx, wire.Run{Argv: argv, User: user, Group: group, MaxBytes: 64 << 10}, nil, &ended); err != nil {
		return "", fmt.Errorf("run `config validate`: %w; nothing was written", err)
	}
	return e.judge(ended)
}

// judge reads the outcome of `config validate`. Nomad before 1.3 has no such command and ends with code 127. Where the unit has
// flags besides -config the files alone need not be valid.
func (e *configEdit) judge(ended wire.RunResult) (string, error) {
	switch {
	case ended.RC == 0:
		return "ok", nil
	case ended.RC == 127:
		return "absent", nil
	case e.agent.ExtraFlags:
		return "warned", nil
	}
	var words []string
	for line := range strings.Lines(agentconfig.HideIn(ended.Stdout + "\n" + ended.Stderr)) {
		if line = strings.TrimSpace(line); line != "" && len(words) < 10 {
			words = append(words, line)
		}
	}
	return "", fmt.Errorf("the installed Nomad on %s rejects the configuration with %s changed: %s; nothing was written (validate: false leaves the trial out)",
		e.call.Name, e.key, strings.Join(words, "; "))
}

// withEdits is the configuration as it will be loaded.
func withEdits(sources []agentconfig.Source, edits []agentconfig.Edit) []agentconfig.Source {
	all := slices.Clone(sources)
	for _, edit := range edits {
		there := false
		for i := range all {
			if all[i].Path == edit.Path {
				all[i].Text, there = edit.After, true
			}
		}
		if !there {
			all = agentconfig.WithFile(all, edit.Path, edit.After)
		}
	}
	return all
}
