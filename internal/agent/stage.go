// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"drover/internal/wire"
)

const validateTimeout = 60 * time.Second

// keptStages is how many staged binaries stay on a host: a second unit, or a second run, may want one of them.
const keptStages = 2

// stagedPath is where a binary waits: in a directory of drover's own, under the hash of its content, so that nothing of the
// user's is touched and whoever stages the same binary finds it.
func stagedPath(home, sha256 string) string { return filepath.Join(home, homeStage, sha256, "nomad") }

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
	if os.Geteuid() != 0 {
		return result, failure(wire.KindPermission, "staging needs an agent that is root")
	}
	at, err := a.exchangeable(ctx, m, s)
	if err != nil {
		return result, err
	}
	home, err := a.home()
	if err != nil {
		return result, err
	}
	result.Path = a.findStaged(home, request.SHA256)
	there, err := a.sameFile(ctx, result.Path, request.SHA256, request.Size)
	if err != nil {
		return result, err
	}
	if err := a.checkRoom(ctx, s, at, request, result.Path, there); err != nil {
		return result, err
	}
	if !there {
		if request.Check || c.body == nil {
			result.NeedBody = true
			return result, nil
		}
		if err := landStaged(ctx, c, request, home); err != nil {
			return result, err
		}
		result.Changed = true
	} else if now := time.Now(); !request.Check {
		_ = os.Chtimes(filepath.Dir(result.Path), now, now) // the oldest goes first
	}
	return result, a.tryStaged(ctx, s, request, &result)
}

// findStaged is where a binary is staged already, by this or an earlier run, else where it will be.
func (a *Agent) findStaged(home, sha256 string) string {
	for _, dir := range a.options.Homes {
		if path := stagedPath(dir, sha256); exists(path) && unusable(dir) == "" {
			return path
		}
	}
	return stagedPath(home, sha256)
}

// checkRoom finds the names that the swap will use and says before anything is sent that one of them is taken, or that one of the
// filesystems is too small for what will go there.
func (a *Agent) checkRoom(ctx context.Context, s service, at target, request wire.Stage, staged string, there bool) error {
	p := plan{Request: wire.SwapPrepare{Unit: s.Name, SHA256: request.SHA256, Version: request.Version, MainPID: s.MainPID}}
	if err := a.chooseNames(ctx, &p, at); err != nil {
		return err
	}
	if err := a.claim(ctx, &p, request.Size, nil); err != nil {
		return err
	}
	var needs []need
	if !there {
		needs = append(needs, need{staged, request.Size})
	}
	if placed, err := a.sameFile(ctx, p.Placed, request.SHA256, request.Size); err != nil || !placed {
		needs = append(needs, need{p.Placed, request.Size})
	}
	if p.Kept != "" {
		if info, err := os.Stat(fmt.Sprintf("/proc/%d/exe", s.MainPID)); err == nil {
			needs = append(needs, need{p.Kept, info.Size()})
		}
	}
	return enoughForAll(needs)
}

// need is a file that will be written, and its size in bytes.
type need struct {
	path string
	size int64
}

// enoughForAll checks the space of each filesystem for all that will go there.
func enoughForAll(needs []need) error {
	type total struct {
		dir   string
		size  int64
		names []string
	}
	totals := map[uint64]*total{}
	var order []uint64
	for _, n := range needs {
		dir := existing(filepath.Dir(n.path))
		id, err := idOf(dir)
		if err != nil {
			return fmt.Errorf("ask for the free space of %s: %w", dir, err)
		}
		if totals[id.Device] == nil {
			totals[id.Device] = &total{dir: dir}
			order = append(order, id.Device)
		}
		t := totals[id.Device]
		t.size += n.size
		t.names = append(t.names, fmt.Sprintf("%s (%d MiB)", n.path, mebibytes(n.size)))
	}
	for _, device := range order {
		t := totals[device]
		if err := enoughSpace(t.dir, t.size, strings.Join(t.names, " and ")); err != nil {
			return err
		}
	}
	return nil
}

// pruneStaged removes the binaries that were staged longest ago.
func (a *Agent) pruneStaged() error {
	type staged struct {
		dir string
		at  time.Time
	}
	var all []staged
	for _, home := range a.options.Homes {
		entries, err := os.ReadDir(filepath.Join(home, homeStage))
		if err != nil {
			continue
		}
		for _, entry := range entries {
			if info, err := entry.Info(); err == nil {
				all = append(all, staged{filepath.Join(home, homeStage, entry.Name()), info.ModTime()})
			}
		}
	}
	slices.SortFunc(all, func(a, b staged) int { return b.at.Compare(a.at) })
	for _, old := range all[min(len(all), keptStages):] {
		if err := os.RemoveAll(old.dir); err != nil {
			return fmt.Errorf("remove an old staged binary: %w", err)
		}
	}
	return nil
}

func landStaged(ctx context.Context, c *call, request wire.Stage, home string) error {
	content, err := decode(c.body, request.Encoding)
	if err != nil {
		return err
	}
	defer content.Close()
	if _, err := makeHome(home, filepath.Join(homeStage, request.SHA256), 0o711); err != nil {
		return err
	}
	path, mode := stagedPath(home, request.SHA256), uint32(0o755)
	// Nothing of the installed binary is copied to it: in a directory that others may pass through, a capability would be theirs.
	l := landing{path: path, like: path, size: request.Size, sha256: request.SHA256, mode: &mode, uid: -1, gid: -1}
	if _, err = l.land(ctx, content); err != nil {
		os.Remove(filepath.Dir(path)) // fails, rightly, where another run has staged it meanwhile
	}
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
			// Whatever it is, nobody will ask for it again.
			if err := os.RemoveAll(filepath.Dir(result.Path)); err != nil {
				return errors.Join(wrong, fmt.Errorf("remove it again: %w", err))
			}
		}
		return wrong
	}
	if err := validate(ctx, s, as, result); err != nil || request.License == nil {
		return err
	}
	result.License, err = inspectLicense(ctx, s, as, result.Path, *request.License)
	return err
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
	got, err := command{argv: argv, env: env, dir: workingDir(s), as: as, limit: 64 << 10}.execute(ctx)
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
		rejected := failure(wire.KindUnsupported, "the new binary (%s) rejects the configuration %s: %s",
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
