// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"drover/internal/expression"
	"drover/internal/landing"
	"drover/internal/nomad"
	"drover/internal/wire"
)

func nomadSnapshotModule() Module {
	return Module{
		Name:  "nomad_snapshot",
		Short: "Save the cluster's state and its keystore to the run's directory",
		Doc: "Takes a raft snapshot through the API of the server that leads, else of one that answers, whichever host the task is for; checks its checksums, and copies DATA_DIR/server/keystore of that server beside it: snapshots of Nomad before 1.9 hold no keys. " +
			"Where no server of the region runs, there is nobody to ask, and nothing is saved. " +
			"An idle cluster may refuse a snapshot after a change of its servers until something is written; then the scheduler's configuration is written back unchanged. " +
			"Files are 0600 in a directory of 0700 on the bastion, and their content is never shown. With `version`, nothing is saved when every agent runs that version already. " + unitDoc,
		Args: []Arg{
			{Name: "version", Kind: String, Doc: "Save nothing when every host of the run already runs this version."},
		},
		Check: CheckFull,
		Returns: []Arg{
			{Name: "snapshot", Kind: Path, Doc: "The raft snapshot; not there when nothing was saved."},
			{Name: "keystore", Kind: Path, Doc: "The copy of the keystore, a tar; empty when the host has none."},
			{Name: "bytes", Kind: Integer, Doc: "Size of the snapshot."},
		},
		Example: `- nomad_snapshot:
    version: 1.11.0
  run_once: true`,
		Run: nomadSnapshot,
	}
}

func nomadSnapshot(ctx context.Context, call *Call) (*Result, error) {
	c := newCluster(call)
	defer c.close()
	facts, err := c.mustFacts(call.Name)
	if err != nil {
		return nil, err
	}
	needed, err := c.changesAhead()
	if err != nil || !needed {
		return &Result{Message: "nothing will change, so nothing is saved"}, err
	}
	if !facts.Server {
		return nil, fmt.Errorf("%s runs no server; take the snapshot on a server", call.Name)
	}
	if call.Check {
		return &Result{Changed: true, Message: "would save a snapshot and the keystore to " + call.Run.Directory}, nil
	}
	if err := os.MkdirAll(call.Run.Directory, 0o700); err != nil {
		return nil, fmt.Errorf("make the run's directory: %w", err)
	}
	source, err := c.snapshotSource(ctx, facts.Region)
	if err != nil {
		return nil, fmt.Errorf("save a snapshot of region %s: %w", facts.Region, err)
	}
	if source.Host == "" {
		without := fmt.Sprintf("no server of region %s runs, so that nobody can give a snapshot: going on without one", facts.Region)
		call.Say("%s", without)
		return &Result{Message: without}, nil
	}
	snapshot := filepath.Join(call.Run.Directory, "nomad-"+facts.Region+".snapshot")
	size, err := c.saveSnapshot(ctx, source.Host, snapshot)
	if err != nil {
		return nil, fmt.Errorf("save a snapshot of region %s from %s: %w", facts.Region, source.Host, err)
	}
	keystore, err := c.saveKeystore(ctx, source)
	if err != nil {
		return nil, fmt.Errorf("copy the keystore of %s: %w", source.Host, err)
	}
	return &Result{
		Changed: true, Message: fmt.Sprintf("%s, %d bytes, verified", snapshot, size),
		Data: expression.MapOf("snapshot", snapshot, "keystore", keystore, "bytes", size),
	}, nil
}

// snapshotSource is the server of a region that leads, else one that answers; the zero value when none of them runs.
func (c *cluster) snapshotSource(ctx context.Context, region string) (nomad.HostFacts, error) {
	var source string
	var reasons []string
	answers := c.askAll(ctx, c.servers(region))
	for _, answer := range answers {
		facts, _ := c.facts(answer.Host)
		switch {
		case answer.Error == "" && source == "":
			source = answer.Host
		case answer.Error != "" && facts.Running && !facts.CrashLooping:
			reasons = append(reasons, answer.Host+": "+strings.TrimPrefix(answer.Error, answer.Host+": "))
		}
	}
	if leader := leaderOf(answers); leader != nil {
		source = leader.Host
	}
	switch {
	case source != "":
		return c.mustFacts(source)
	case len(reasons) > 0:
		return nomad.HostFacts{}, fmt.Errorf("no server answers: %s", strings.Join(reasons, "; "))
	}
	return nomad.HostFacts{}, nil
}

// changesAhead tells whether any host of the run is not at the version yet.
func (c *cluster) changesAhead() (bool, error) {
	if !c.call.Args.Has("version") {
		return true, nil
	}
	target, err := targetVersion(c.call)
	if err != nil {
		return false, err
	}
	for _, name := range c.call.Fleet.Names("all") {
		if facts, ok := c.ownFacts(name); ok && facts.Role != "none" && !facts.Upgraded(target) {
			return true, nil
		}
	}
	return false, nil
}

// saveSnapshot writes a snapshot to a new file and verifies it before it gets its name.
func (c *cluster) saveSnapshot(ctx context.Context, host, target string) (int64, error) {
	client, err := c.connect(ctx, host)
	if err != nil {
		return 0, err
	}
	return landing.File(target, func(file *os.File) error {
		err := nomad.Snapshot(ctx, client, file)
		if nomad.IsIdleSnapshotError(err) {
			c.call.Say("the idle cluster refuses a snapshot until something is written; writing the scheduler's configuration back unchanged")
			if err := nomad.Touch(ctx, client); err != nil {
				return fmt.Errorf("write something harmless, so that an idle cluster allows a snapshot: %w", err)
			}
			err = nomad.Snapshot(ctx, client, file)
		}
		if err != nil {
			return err
		}
		if _, err := file.Seek(0, io.SeekStart); err != nil {
			return err
		}
		return nomad.VerifySnapshot(file)
	})
}

const (
	maximumKeys    = 1000
	maximumKeyFile = 1 << 20
)

// saveKeystore copies the files of DATA_DIR/server/keystore into a tar on the bastion; "" when there is none.
func (c *cluster) saveKeystore(ctx context.Context, facts nomad.HostFacts) (string, error) {
	if facts.DataDir == "" {
		return "", errors.New("its data directory is not known")
	}
	directory := facts.DataDir + "/server/keystore"
	host, err := c.host(ctx, facts.Host)
	if err != nil {
		return "", err
	}
	var found wire.RunResult
	list := wire.Run{Argv: []string{"find", directory, "-xdev", "-type", "f", "-print"}}
	if err := host.Call(ctx, list, nil, &found); err != nil {
		return "", err
	}
	names := strings.Fields(found.Stdout)
	if found.RC != 0 && strings.Contains(found.Stderr, "No such file") || found.RC == 0 && len(names) == 0 {
		return "", nil
	}
	if found.RC != 0 || found.Truncated || len(names) > maximumKeys {
		return "", fmt.Errorf("list %s: code %d, %d files: %s", directory, found.RC, len(names), strings.TrimSpace(found.Stderr))
	}
	target := filepath.Join(c.call.Run.Directory, "keystore-"+facts.NodeName+".tar")
	_, err = landing.File(target, func(file *os.File) error {
		archive := tar.NewWriter(file)
		for _, name := range names {
			var content bytes.Buffer
			var reply wire.ReadResult
			if err := host.Receive(ctx, wire.Read{Path: name, Max: maximumKeyFile}, &reply, &content); err != nil {
				return err
			}
			header := &tar.Header{Name: path.Join("keystore", strings.TrimPrefix(name, directory)), Mode: 0o600, Size: int64(content.Len())}
			if err := archive.WriteHeader(header); err != nil {
				return err
			}
			if _, err := archive.Write(content.Bytes()); err != nil {
				return err
			}
		}
		return archive.Close()
	})
	return target, err
}
