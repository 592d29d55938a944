// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"

	"drover/internal/printable"
	"drover/internal/wire"
)

// versionTimeout bounds how long a binary may take to print its version, cold caches included.
const versionTimeout = 20 * time.Second

func nomadAgent(ctx context.Context, c *call, request wire.Agent) (wire.AgentResult, error) {
	return onSystemd(ctx, request.Unit, func(m *manager, name string) (wire.AgentResult, error) {
		s, err := m.loaded(ctx, name)
		if err != nil {
			return wire.AgentResult{}, err
		}
		result := wire.AgentResult{Unit: s.UnitState}
		if err := refuseContainer(s); err != nil {
			return result, err
		}
		if err := c.agent.describeBinary(ctx, m, s, &result); err != nil {
			return result, err
		}
		if s.MainPID > 0 {
			c.agent.describeProcess(ctx, s.MainPID, &result)
		}
		flags := parseAgentFlags(agentArgv(s, result.Cmdline))
		result.ConfigPaths, result.ExtraFlags, result.DataDir = flags.configs, flags.extra, flags.dataDir
		result.ConfigFiles = configFiles(flags.configs)
		result.Environment = environmentNames(s)
		if result.DataDir == "" {
			result.DataDir = configuredDataDir(result.ConfigFiles)
		}
		return result, nil
	})
}

func (a *Agent) describeBinary(ctx context.Context, m *manager, s service, result *wire.AgentResult) error {
	t, err := installed(s)
	if missing := (*wire.Error)(nil); errors.As(err, &missing) && s.LoadState == "loaded" && s.ExecStartPath != "" {
		// Whose agent it is, what still runs and its configuration are worth knowing all the same.
		result.Binary, result.Refusals = s.ExecStartPath, []*wire.Error{missing}
		return nil
	}
	if err != nil {
		return err
	}
	result.Refusals = a.refusals(ctx, s, t)
	result.Binary, result.Link = t.file, t.link
	if result.BinaryStat, err = statPath(t.file, true); err != nil {
		return err
	}
	if result.SharedBy, err = sharedBy(ctx, m, s, t); err != nil {
		return err
	}
	result.ReadOnly = readOnly(t.file) || t.link != "" && readOnly(t.link)
	result.Package = a.packageOf(ctx, t)
	// A binary that cannot say its version is a fact, not an error: the caller sees the empty field.
	result.BinaryVersion, _ = a.version(ctx, t.file, nil)
	return a.describeSpace(t, result)
}

// describeSpace tells how much room there is for a new binary.
func (a *Agent) describeSpace(t target, result *wire.AgentResult) error {
	var err error
	if result.FreeBytes, err = freeBytes(filepath.Dir(t.file)); err != nil {
		return err
	}
	result.StageFreeBytes = -1
	// Without a place to stage in, staging says so in words of its own.
	home, err := a.home()
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	beside, err := idOf(filepath.Dir(t.file))
	if err != nil {
		return err
	}
	staging, err := idOf(existing(home))
	if err != nil {
		return err
	}
	if staging.Device != beside.Device {
		result.StageFreeBytes, err = freeBytes(existing(home))
	}
	return err
}

// environmentNames are the names of the variables that the unit sets, sorted. What cannot be read says nothing.
func environmentNames(s service) []string {
	values := map[string]string{}
	for _, f := range s.envFiles {
		one, _ := serviceEnvironment(service{UnitState: s.UnitState, envFiles: []envFile{f}})
		maps.Copy(values, one)
	}
	for _, pair := range s.environment {
		key, _, _ := strings.Cut(pair, "=")
		values[key] = ""
	}
	return slices.Sorted(maps.Keys(values))
}

func (a *Agent) describeProcess(ctx context.Context, pid int, result *wire.AgentResult) {
	exe := fmt.Sprintf("/proc/%d/exe", pid)
	ticks := startTicks(pid)
	target, err := os.Readlink(exe)
	if ticks == 0 || err != nil {
		return
	}
	const deleted = " (deleted)"
	id, err := runningFile(pid)
	if err != nil {
		return
	}
	result.Running, result.StartTicks, result.Cmdline = true, ticks, newRedactor().arguments(cmdline(pid))
	result.Exe, result.ExeDeleted = strings.TrimSuffix(target, deleted), strings.HasSuffix(target, deleted)
	result.ExeInode, result.ExeDevice = id.Inode, id.Device
	if now, err := idOf(result.Exe); err != nil || now != id {
		result.ExeDeleted = true
	}
	result.ExeVersion, _ = a.version(ctx, exe, nil)
	sockets, err := listening(pid)
	if err != nil {
		return
	}
	for _, socket := range sockets {
		if text := socket.String(); !slices.Contains(result.Listening, text) {
			result.Listening = append(result.Listening, text)
		}
	}
}

// version is the first line that a binary prints for `version`; cached by the file's identity.
func (a *Agent) version(ctx context.Context, path string, as *account) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("run %s version: %w", path, err)
	}
	key := identity(info)
	if known := a.cache.get(key); known.Version != "" {
		return known.Version, nil
	}
	switch script, err := isScript(path); {
	case err != nil:
		return "", err
	case script:
		return "", failure(wire.KindInvalid, "%s is a script and no Nomad binary", path)
	}
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	result, err := command{argv: []string{path, "version"}, as: as, limit: 64 << 10}.execute(ctx)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(strings.TrimSpace(printable.Text(result.stdout)), "\n")
	if result.rc != 0 || line == "" {
		return "", failure(wire.KindFailed, "%s version ended with code %d: %s", path, result.rc,
			strings.Join(newRedactor().lines(result.stdout+"\n"+result.stderr, 5), "; "))
	}
	a.cache.update(key, func(e *cacheEntry) { e.Version = line })
	return line, nil
}

// nomadVersion takes the version out of what `nomad version` prints: "Nomad v1.11.0+ent".
func nomadVersion(line string) (string, bool) {
	rest, found := strings.CutPrefix(line, "Nomad v")
	word, _, _ := strings.Cut(rest, " ")
	return word, found && word != ""
}

// runsNomad tells whether a unit runs a Nomad agent, by its program's name or by what the program says of itself.
func (a *Agent) runsNomad(ctx context.Context, s service) bool {
	names := []string{s.ExecStartPath}
	if s.MainPID > 0 {
		if target, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", s.MainPID)); err == nil {
			names = append(names, strings.TrimSuffix(target, " (deleted)"))
		}
	}
	for _, name := range names {
		if filepath.Base(name) == "nomad" {
			return true
		}
	}
	if !slices.Contains(s.ExecStart, "agent") {
		return slices.ContainsFunc(s.ExecStart, func(argument string) bool { return strings.Contains(argument, "nomad agent") })
	}
	line, err := a.version(ctx, s.ExecStartPath, nil)
	_, nomad := nomadVersion(line)
	return err == nil && nomad
}

// agentArgv is the command line to read the configuration's paths from: ExecStart, or that of the running process
// where ExecStart holds variables that only systemd has expanded.
func agentArgv(s service, running []string) []string {
	if len(running) > 0 && strings.Contains(strings.Join(s.ExecStart, " "), "$") {
		return running
	}
	return s.ExecStart
}

type agentFlags struct {
	configs []string
	extra   bool // there are flags besides -config
	dataDir string
}

// parseAgentFlags reads what follows `agent`. Go's flag package takes one dash or two, and a value after = or a space.
func parseAgentFlags(argv []string) agentFlags {
	var flags agentFlags
	at := slices.Index(argv, "agent")
	if at < 0 {
		return flags
	}
	rest := argv[at+1:]
	for i := 0; i < len(rest); i++ {
		name, value, inline := strings.Cut(strings.TrimLeft(rest[i], "-"), "=")
		if !strings.HasPrefix(rest[i], "-") {
			continue
		}
		if name != "config" && name != "data-dir" {
			flags.extra = true
			continue
		}
		if !inline && i+1 < len(rest) {
			i++
			value = rest[i]
		}
		if name == "config" {
			flags.configs = append(flags.configs, value)
		} else {
			flags.dataDir, flags.extra = value, true
		}
	}
	return flags
}

// configFiles lists the files that Nomad loads (LoadConfig and LoadConfigDir, 2.0.5): a file as it is; of a directory
// the *.hcl and *.json files sorted by name, without subdirectories and editors' temporary files.
func configFiles(paths []string) []string {
	var files []string
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		if !info.IsDir() {
			files = append(files, path)
			continue
		}
		entries, err := os.ReadDir(path)
		if err != nil {
			continue
		}
		var names []string
		for _, entry := range entries {
			if name := entry.Name(); !entry.IsDir() && isConfigName(name) {
				names = append(names, filepath.Join(path, name))
			}
		}
		sort.Strings(names)
		files = append(files, names...)
	}
	return files
}

func isConfigName(name string) bool {
	temporary := strings.HasSuffix(name, "~") || strings.HasPrefix(name, ".#") ||
		(strings.HasPrefix(name, "#") && strings.HasSuffix(name, "#"))
	return !temporary && (strings.HasSuffix(name, ".hcl") || strings.HasSuffix(name, ".json"))
}

const maxConfigBytes = 1 << 20

// configuredDataDir looks for data_dir in the text; the last one counts, as in Nomad's merge.
func configuredDataDir(files []string) string {
	setting := regexp.MustCompile(`(?m)(?:^|[\s,{])"?data_dir"?\s*[=:]\s*"([^"\n]+)"`)
	comment := regexp.MustCompile(`(?m)^\s*(?:#|//).*$`)
	found := ""
	for _, path := range files {
		info, err := os.Stat(path)
		if err != nil || info.Size() > maxConfigBytes {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		for _, match := range setting.FindAllStringSubmatch(comment.ReplaceAllString(string(text), ""), -1) {
			found = match[1]
		}
	}
	return found
}
