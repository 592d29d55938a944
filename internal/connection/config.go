// SPDX-License-Identifier: MPL-2.0

package connection

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/kevinburke/ssh_config"

	"drover/internal/bounded"
	"drover/internal/words"
)

const (
	maxIncludeDepth = 16      // as ssh_config(5)
	maxConfigBytes  = 4 << 20 // of one file
	sshLimit        = 10 * time.Second
)

// configs reads SSH client configuration files, each once. The library misreads Match blocks (it takes `Match host a user
// b` for two hosts), so that a file with one is left to OpenSSH's own `ssh -G`.
type configs struct {
	home    string
	environ []string

	mu     sync.Mutex
	parsed map[string]*configSet
}

type configSet struct {
	once  sync.Once
	files []string // those that exist
	match string   // file:line of a Match block, empty: none
	trees []*ssh_config.Config
	err   error
}

func (c *configs) lookup(ctx context.Context, files []string, target Target) (lookup, error) {
	set := c.load(files)
	if set.err != nil {
		return nil, set.err
	}
	if set.match != "" {
		return c.askOpenSSH(ctx, set, target)
	}
	return func(key string) []string {
		var values []string
		for _, tree := range set.trees {
			found, err := tree.GetAll(target.address(), key)
			if err == nil {
				values = append(values, found...)
			}
		}
		return values
	}, nil
}

func (c *configs) load(files []string) *configSet {
	key := strings.Join(files, "\x00")
	c.mu.Lock()
	if c.parsed == nil {
		c.parsed = map[string]*configSet{}
	}
	set := c.parsed[key]
	if set == nil {
		set = &configSet{}
		c.parsed[key] = set
	}
	c.mu.Unlock()
	set.once.Do(func() { set.err = c.read(set, files) })
	return set
}

func (c *configs) read(set *configSet, files []string) error {
	for _, file := range files {
		text, err := bounded.ReadFile(file, maxConfigBytes)
		if errors.Is(err, fs.ErrNotExist) && len(files) > 1 {
			continue
		}
		if err != nil {
			return fmt.Errorf("ssh configuration: %w", err)
		}
		set.files = append(set.files, file)
		match, err := c.findMatch(file, text, 0)
		if err != nil {
			return fmt.Errorf("ssh configuration: %w", err)
		}
		if match != "" {
			set.match = match
			continue
		}
		tree, err := ssh_config.DecodeBytes(text)
		if err != nil {
			return fmt.Errorf("ssh configuration %s: %w", file, err)
		}
		set.trees = append(set.trees, tree)
	}
	return nil
}

// findMatch returns the place of the first Match block in a file or in what it includes.
func (c *configs) findMatch(file string, text []byte, depth int) (string, error) {
	if depth > maxIncludeDepth {
		return "", fmt.Errorf("%s: Include goes deeper than %d files", file, maxIncludeDepth)
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, maxConfigBytes)
	for number := 1; lines.Scan(); number++ {
		keyword, rest := splitKeyword(lines.Text())
		switch keyword {
		case "match":
			return fmt.Sprintf("%s:%d", file, number), nil
		case "include":
			match, err := c.findIncluded(file, rest, depth)
			if match != "" || err != nil {
				return match, err
			}
		}
	}
	return "", lines.Err()
}

func (c *configs) findIncluded(file, patterns string, depth int) (string, error) {
	list, err := words.Split(patterns)
	if err != nil {
		return "", fmt.Errorf("%s: Include %s: %w", file, patterns, err)
	}
	for _, pattern := range list {
		included, err := filepath.Glob(c.includePath(file, pattern.Text))
		if err != nil {
			return "", fmt.Errorf("%s: Include %s: %w", file, pattern.Text, err)
		}
		for _, name := range included {
			text, err := bounded.ReadFile(name, maxConfigBytes)
			if err != nil {
				return "", err
			}
			if match, err := c.findMatch(name, text, depth+1); match != "" || err != nil {
				return match, err
			}
		}
	}
	return "", nil
}

func (c *configs) includePath(file, word string) string {
	switch {
	case filepath.IsAbs(word):
		return word
	case strings.HasPrefix(word, "~/"):
		return filepath.Join(c.home, word[2:])
	case strings.HasPrefix(file, "/etc/ssh/"):
		return filepath.Join("/etc/ssh", word)
	default:
		return filepath.Join(c.home, ".ssh", word)
	}
}

func splitKeyword(line string) (keyword, rest string) {
	line = strings.TrimSpace(line)
	at := strings.IndexAny(line, " \t=")
	if at < 0 {
		return strings.ToLower(line), ""
	}
	return strings.ToLower(line[:at]), strings.TrimLeft(line[at:], " \t=")
}

// askOpenSSH has ssh -G evaluate the files for one host, which runs what `Match exec` names, as ssh itself would.
func (c *configs) askOpenSSH(ctx context.Context, set *configSet, target Target) (lookup, error) {
	program, err := exec.LookPath("ssh")
	if err != nil {
		return nil, fmt.Errorf("ssh configuration: %s has a Match block, which needs OpenSSH's client to evaluate it, and ssh is not installed (install openssh-client, or point -F at a file without Match)", set.match)
	}
	ctx, cancel := withTimeout(ctx, sshLimit, "ssh -G to evaluate "+set.match)
	defer cancel()
	var includes strings.Builder
	for _, file := range set.files {
		fmt.Fprintf(&includes, "Include %q\n", file)
	}
	argv := []string{"-G", "-F", "/dev/stdin"}
	if target.User != "" {
		argv = append(argv, "-l", target.User)
	}
	if target.Port != 0 {
		argv = append(argv, "-p", fmt.Sprint(target.Port))
	}
	command := exec.CommandContext(ctx, program, append(argv, "--", target.address())...)
	command.Stdin = strings.NewReader(includes.String())
	command.Env = c.environ
	command.WaitDelay = time.Second
	var complaint bytes.Buffer
	command.Stderr = &complaint
	output, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("ssh configuration: ssh -G for %s: %w: %s", target.address(), err, excerpt(complaint.String()))
	}
	values := map[string][]string{}
	for line := range strings.Lines(string(output)) {
		key, value := splitKeyword(line)
		values[key] = append(values[key], value)
	}
	return func(key string) []string { return values[key] }, nil
}
