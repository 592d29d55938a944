// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"drover/internal/expression"
	"drover/internal/nomad"
	"drover/internal/wire"
)

func nomadStageModule() Module {
	return Module{
		Name:  "nomad_stage",
		Short: "Bring a new Nomad binary to a host and try it there",
		Doc: "Finds the binary for the host's architecture or fetches it, verifies its checksum and signature, compresses it once for all hosts and sends it where the host does " +
			"not have it yet, into drover's own directory (/var/lib/drover, or the next that is not noexec). There it is run once for its version, and the " +
			"configuration is tried with it as the unit's user; a rejection fails. Where the version is an Enterprise edition, it inspects each server's licence there, and one that it would not start with fails. Nothing of the user's is touched; nomad_swap brings it beside the installed binary. A host that already runs the version is left alone. " + unitDoc,
		Args:      append([]Arg{versionArg()}, binaryArgs()...),
		Exclusive: [][]string{binarySources()},
		Check:     CheckFull,
		Returns: []Arg{
			{Name: "path", Kind: Path, Doc: "Where the binary waits."},
			{Name: "sha256", Kind: String, Doc: "Its checksum."},
			{Name: "validate", Kind: String, Doc: "How `config validate` went: ok, warned or absent."},
			{Name: "warnings", Kind: List, Doc: "What it complained about."},
			{Name: "license", Kind: String, Doc: "What it says of the server's licence; empty for clients and the community edition."},
		},
		Example: `- nomad_stage:
    version: 1.11.0
    directory: releases/`,
		Run: nomadStage,
	}
}

// stagedFact is what nomad_swap needs to know of a staged binary.
type stagedFact struct {
	Version  nomad.Version `json:"version"`
	Path     string        `json:"path"`
	SHA256   string        `json:"sha256"`
	Validate string        `json:"validate"`
	Warnings []string      `json:"warnings"`
}

func nomadStage(ctx context.Context, call *Call) (*Result, error) {
	c, facts, target, err := toVersion(call)
	if err != nil {
		return nil, err
	}
	defer c.close()
	if facts.Upgraded(target) {
		return &Result{Message: "already runs " + target.String()}, nil
	}
	binary, err := prepareBinary(ctx, call, target, facts.Architecture)
	if err != nil {
		return nil, err
	}
	request := wire.Stage{Unit: facts.Unit, Size: binary.Size, SHA256: binary.SHA256, Version: target.String(), Encoding: "zstd", Check: call.Check}
	if facts.Server && target.Edition() != "" {
		// Not the files that the running agent has read: the licence may have been named since.
		agent, err := agentOf(ctx, call.Host, facts.Unit)
		if err != nil {
			return nil, fmt.Errorf("look for the licence of %s: %w", call.Name, err)
		}
		request.License = &wire.License{Path: readConfig(ctx, call.Host, agent.ConfigFiles).LicensePath}
	}
	reply, err := sendStaged(ctx, call, request, binary.Compressed)
	if err != nil {
		err = fmt.Errorf("stage Nomad %s on %s: %w", target, call.Name, err)
		if wire.IsKind(err, wire.KindUnsupported) || wire.IsKind(err, wire.KindNoSpace) {
			return nil, refusal{err} // only the directory of drover's own was touched
		}
		return nil, err
	}
	if call.Check && reply.NeedBody {
		return &Result{Changed: true, Message: fmt.Sprintf("would send Nomad %s to %s", target, reply.Path)}, nil
	}
	fact := stagedFact{Version: target, Path: reply.Path, SHA256: binary.SHA256, Validate: reply.Validate, Warnings: nonNil(reply.Warnings)}
	result := &Result{Changed: reply.Changed, Facts: factMap(factStaged, fact), Message: reply.Path}
	if told := worthTelling(fact.Warnings); len(told) > 0 {
		result.Message += "; " + strings.Join(told, "; ")
	}
	license := ""
	if request.License != nil {
		if license, err = judgeLicense(call.Name, target, reply); err != nil {
			return nil, err
		}
		result.Message += "; " + license
	}
	result.Data = expression.MapOf("path", fact.Path, "sha256", fact.SHA256, "validate", fact.Validate, "warnings", fact.Warnings, "license", license)
	return result, nil
}

// judgeLicense refuses a server whose licence the new binary would not start with.
func judgeLicense(host string, target nomad.Version, reply wire.StageResult) (string, error) {
	if reply.License == nil {
		return "", refuse("%s: its agent of drover did not inspect the licence, and nothing was stopped", host)
	}
	license := nomad.JudgeLicense(nomad.LicenseEvidence{Version: target, Source: reply.License.Source, RC: reply.License.RC, Lines: reply.License.Lines, Now: time.Now()})
	if license.State != nomad.LicenseValid {
		return "", refuse("%s: Nomad %s would not start with the licence there, and nothing was stopped: %s (%s)", host, target, license.Why, license.Remedy)
	}
	return license.Why, nil
}

// worthTelling leaves out what `config validate` says of every configuration without mTLS, and on every host: it is no news and hides
// what is. The result has all of it.
func worthTelling(warnings []string) []string {
	return slices.DeleteFunc(slices.Clone(warnings), func(w string) bool { return strings.Contains(w, "mTLS is not configured") })
}

// sendStaged asks first and sends the bytes only where the host does not have them.
func sendStaged(ctx context.Context, call *Call, request wire.Stage, compressed string) (wire.StageResult, error) {
	var reply wire.StageResult
	if err := call.Host.Call(ctx, request, nil, &reply); err != nil || !reply.NeedBody || call.Check {
		return reply, err
	}
	file, err := os.Open(compressed)
	if err != nil {
		return reply, err
	}
	defer file.Close()
	reply = wire.StageResult{}
	err = call.Host.Call(ctx, request, file, &reply)
	return reply, err
}
