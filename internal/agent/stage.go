// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"drover/internal/wire"
)

const validateTimeout = 60 * time.Second

// stagedName is where a version waits: beside the installed binary, so that the exchange is a rename.
func stagedName(binary, version string) string { return binary + ".drover-" + version }

func stage(ctx context.Context, c *call, request wire.Stage) (wire.StageResult, error) {
	return onSystemd(ctx, request.Unit, func(m *manager, name string) (wire.StageResult, error) {
		s, err := m.loaded(ctx, name)
		if err != nil {
			return wire.StageResult{}, err
		}
		return unhurried(func() (wire.StageResult, error) { return c.agent.stage(ctx, m, s, c, request) })
	})
}

func (a *Agent) stage(ctx context.Context, m *manager, s service, c *call, request wire.Stage) (wire.StageResult, error) {
	var result wire.StageResult
	if !regexp.MustCompile(`^[0-9][0-9A-Za-z.+-]{0,63}$`).MatchString(request.Version) || len(request.SHA256) != 64 || request.Size <= 0 {
		return result, failure(wire.KindInvalid, "stage: version %q, size %d or hash %q is not one", request.Version, request.Size, request.SHA256)
	}
	at, err := a.exchangeable(ctx, m, s)
	if err != nil {
		return result, err
	}
	binary := at.file
	result.Path = stagedName(binary, request.Version)
	there, err := a.has(ctx, result.Path, request)
	if err != nil {
		return result, err
	}
	if !there {
		if request.Check || c.body == nil {
			result.NeedBody = true
			return result, enoughSpace(filepath.Dir(binary), request.Size, result.Path)
		}
		if err := landStaged(ctx, c, request, binary, result.Path); err != nil {
			return result, err
		}
		result.Changed = true
	}
	return result, a.tryStaged(ctx, s, request, &result)
}

// has tells whether the staged file is there with the right content.
func (a *Agent) has(ctx context.Context, path string, request wire.Stage) (bool, error) {
	now, err := statPath(path, false)
	if err != nil || now.Type != "file" || now.Size != request.Size {
		return false, err
	}
	sum, _, err := a.cache.hash(ctx, path)
	return sum == request.SHA256, err
}

func landStaged(ctx context.Context, c *call, request wire.Stage, binary, path string) error {
	if err := enoughSpace(filepath.Dir(binary), request.Size, path); err != nil {
		return err
	}
	content, err := decode(c.body, request.Encoding)
	if err != nil {
		return err
	}
	defer content.Close()
	l := landing{path: path, like: binary, size: request.Size, sha256: request.SHA256, uid: -1, gid: -1}
	_, err = l.land(ctx, content)
	return err
}

// tryStaged runs the staged binary: its version must be the promised one, and it must accept the configuration.
func (a *Agent) tryStaged(ctx context.Context, s service, request wire.Stage, result *wire.StageResult) error {
	as, err := serviceAccount(ctx, s)
	if err != nil {
		return err
	}
	line, err := a.version(ctx, result.Path, as)
	if err != nil {
		return fmt.Errorf("try the staged binary: %w", err)
	}
	result.Version = line
	if got, ok := nomadVersion(line); !ok || got != request.Version {
		wrong := failure(wire.KindInvalid, "the binary that was sent says %q, expected Nomad v%s", line, request.Version)
		wrong.Hint = "nothing was stopped; name the binary of that version, or that version"
		if !request.Check {
			// Under this name it would be taken for the version that it is not.
			if err := os.Remove(result.Path); err != nil {
				return errors.Join(wrong, fmt.Errorf("remove it again: %w", err))
			}
		}
		return wrong
	}
	return validate(ctx, s, as, result)
}

// serviceAccount is the user and group that the unit's processes have; nil for root.
func serviceAccount(ctx context.Context, s service) (*account, error) {
	if (s.User == "" || s.User == "root") && s.Group == "" {
		return nil, nil
	}
	name := s.User
	if name == "" {
		name = "root"
	}
	who, err := lookupUser(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("the user of %s: %w", s.Name, err)
	}
	if s.Group != "" {
		if who.gid, err = lookupGroup(ctx, s.Group); err != nil {
			return nil, fmt.Errorf("the group of %s: %w", s.Name, err)
		}
	}
	return &who, nil
}

// serviceEnvironment is what the unit's processes get from Environment= and EnvironmentFile=, the files last.
func serviceEnvironment(s service) (map[string]string, error) {
	values := map[string]string{}
	for _, pair := range s.environment {
		key, value, _ := strings.Cut(pair, "=")
		values[key] = value
	}
	for _, f := range s.envFiles {
		paths, err := filepath.Glob(f.path)
		if err != nil || (len(paths) == 0 && !f.optional) {
			return nil, failure(wire.KindNotFound, "the EnvironmentFile %s of %s does not exist", f.path, s.Name)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				return nil, fmt.Errorf("read the environment of %s: %w", s.Name, err)
			}
			for key, value := range parseEnvironment(string(text)) {
				values[key] = value
			}
		}
	}
	return values, nil
}

// validate runs `config validate` of the staged binary as the unit would run it. Nomad before 1.3 has no such command
// and prints its general usage with code 127.
func validate(ctx context.Context, s service, as *account, result *wire.StageResult) error {
	flags := parseAgentFlags(agentArgv(s, cmdline(s.MainPID)))
	if len(flags.configs) == 0 {
		result.Validate = "warned"
		result.Warnings = append(result.Warnings, s.Name+" names no -config, so the configuration could not be tried with the new binary")
		return nil
	}
	env, err := serviceEnvironment(s)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, validateTimeout)
	defer cancel()
	argv := append([]string{result.Path, "config", "validate"}, flags.configs...)
	dir := strings.TrimLeft(s.workingDir, "!-")
	if dir == "~" {
		dir = ""
	}
	got, err := command{argv: argv, env: env, dir: dir, as: as, limit: 64 << 10}.execute(ctx)
	if err != nil {
		return fmt.Errorf("try the configuration with the new binary: %w", err)
	}
	words := newRedactor().lines(got.stdout+"\n"+got.stderr, 20)
	switch {
	case got.rc == 0:
		result.Validate = "ok"
		result.Warnings = append(result.Warnings, warningsIn(words)...)
	case got.rc == 127:
		result.Validate = "absent"
		result.Warnings = append(result.Warnings, "this Nomad has no `config validate`, so the configuration could not be tried")
	case flags.extra:
		result.Validate = "warned"
		result.Warnings = append(result.Warnings, s.Name+" has flags besides -config, which `config validate` does not see; it said: "+strings.Join(words, "; "))
	default:
		rejected := failure(wire.KindFailed, "the new binary (%s) rejects the configuration %s: %s",
			result.Version, strings.Join(flags.configs, " "), strings.Join(words, "; "))
		rejected.Hint = "nothing was stopped; correct the configuration and run again"
		return rejected
	}
	return nil
}

// warningsIn picks what a successful validation still complained about.
func warningsIn(lines []string) []string {
	var warnings []string
	for _, line := range lines {
		if lower := strings.ToLower(line); strings.Contains(lower, "warn") || strings.Contains(lower, "deprecat") {
			warnings = append(warnings, line)
		}
	}
	return warnings
}
