// SPDX-License-Identifier: MPL-2.0

package connection

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"drover/internal/secret"
	"drover/internal/words"
)

// settings are everything that reaching one host needs, resolved: defaults filled in, tokens and ~ expanded.
type settings struct {
	name           string // how errors call the host
	alias          string // the name that was looked up: %n
	hostname       string // where to connect: %h
	port           int
	user           string
	keyFiles       []string
	keysGiven      bool // keyFiles were asked for, they are not just the default ones
	certificates   []string
	identitiesOnly bool
	agentSocket    string
	jumps          []string // user@host:port, the first one first
	proxyCommand   string
	knownHosts     []string // those of the user first
	hostKeyAlias   string
	strict         strictness
	timeout        time.Duration
	password       secret.Text
	configFile     string   // -F, which holds for the jump hosts too, as in OpenSSH
	trail          []string // the jump hosts that led here, to find circles
}

type strictness int

const (
	strictRefuse strictness = iota
	strictAcceptNew
	strictOff
)

// lookup returns all values of a key (in lower case) in order of precedence. Keys whose first value wins use only that.
type lookup func(key string) []string

// resolve finds out how to reach a target: what the inventory says, then its ssh arguments, then the configuration files.
func (p *Pool) resolve(ctx context.Context, target Target) (settings, error) {
	files := p.options.ConfigFiles
	if file := target.CommonArgs.configFile; file != "" {
		files = []string{p.expandHome(file)}
	}
	configured, err := p.configs.lookup(ctx, files, target)
	if err != nil {
		return settings{}, err
	}
	find := target.CommonArgs.over(configured)
	s := settings{
		name: target.Name, alias: target.address(), password: target.Password, configFile: target.CommonArgs.configFile,
	}
	if err := s.address(target, find, p.options); err != nil {
		return settings{}, err
	}
	if err := s.identities(target, find, p); err != nil {
		return settings{}, err
	}
	if err := s.route(find); err != nil {
		return settings{}, err
	}
	return s, s.hostKeys(find, p)
}

// over puts the arguments before what the configuration says. ProxyJump and ProxyCommand exclude each other, so that one
// given as an argument also hides the other one.
func (a CommonArgs) over(configured lookup) lookup {
	rival := map[string]string{"proxyjump": "proxycommand", "proxycommand": "proxyjump"}
	return func(key string) []string {
		var values []string
		hide := false
		for _, option := range a.options {
			if option.key == key {
				values = append(values, option.value)
			}
			hide = hide || option.key == rival[key]
		}
		if hide {
			return values
		}
		return append(values, configured(key)...)
	}
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

func (s *settings) address(target Target, find lookup, options Options) error {
	s.user = target.User
	if s.user == "" {
		s.user = first(find("user"))
	}
	if s.user == "" {
		s.user = options.User
	}
	s.port = target.Port
	if text := first(find("port")); s.port == 0 && text != "" {
		port, err := strconv.Atoi(text)
		if err != nil || port < 1 || port > 65535 {
			return fmt.Errorf("port %q is not a number from 1 to 65535", text)
		}
		s.port = port
	}
	if s.port == 0 {
		s.port = 22
	}
	s.hostname = s.alias
	if name := first(find("hostname")); name != "" {
		// In HostName %h stands for the name as given; everywhere else for the outcome.
		expanded, err := s.expand(name)
		if err != nil {
			return fmt.Errorf("HostName: %w", err)
		}
		s.hostname = expanded
	}
	s.hostKeyAlias = first(find("hostkeyalias"))
	s.timeout = target.Timeout
	if text := first(find("connecttimeout")); s.timeout == 0 && text != "" && text != "none" {
		seconds, err := strconv.Atoi(strings.TrimSuffix(text, "s"))
		if err != nil || seconds < 1 {
			return fmt.Errorf("ConnectTimeout %q is not a number of seconds", text)
		}
		s.timeout = time.Duration(seconds) * time.Second
	}
	s.timeout = orDuration(s.timeout, 10*time.Second)
	return nil
}

func (s *settings) identities(target Target, find lookup, p *Pool) error {
	files := append(append([]string{}, target.KeyFiles...), find("identityfile")...)
	s.keysGiven = len(files) > 0
	if !s.keysGiven {
		files = []string{"~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa"}
	}
	for _, file := range files {
		if file == "none" {
			continue
		}
		path, err := s.path(file, p)
		if err != nil {
			return fmt.Errorf("IdentityFile: %w", err)
		}
		s.keyFiles = append(s.keyFiles, path)
	}
	for _, file := range find("certificatefile") {
		path, err := s.path(file, p)
		if err != nil {
			return fmt.Errorf("CertificateFile: %w", err)
		}
		s.certificates = append(s.certificates, path)
	}
	s.identitiesOnly = first(find("identitiesonly")) == "yes"
	return s.agent(first(find("identityagent")), p)
}

func (s *settings) agent(said string, p *Pool) error {
	switch {
	case said == "" || said == "SSH_AUTH_SOCK":
		s.agentSocket = p.options.AgentSocket
	case said == "none":
	default:
		path, err := s.path(said, p)
		if err != nil {
			return fmt.Errorf("IdentityAgent: %w", err)
		}
		s.agentSocket = path
	}
	return nil
}

func (s *settings) route(find lookup) error {
	if jump := first(find("proxyjump")); jump != "" && jump != "none" {
		expanded, err := s.expand(jump)
		if err != nil {
			return fmt.Errorf("ProxyJump: %w", err)
		}
		return s.jump(expanded)
	}
	if command := first(find("proxycommand")); command != "" && command != "none" {
		expanded, err := s.expand(command)
		if err != nil {
			return fmt.Errorf("ProxyCommand: %w", err)
		}
		s.proxyCommand = expanded
	}
	return nil
}

// jump notes the jump hosts. As in OpenSSH, a host is not its own jump host, so that `Host *` may name one.
func (s *settings) jump(list string) error {
	for _, text := range strings.Split(list, ",") {
		text = strings.TrimSpace(text)
		hop, err := parseHop(text)
		if err != nil {
			return err
		}
		itself := hop.Name == s.alias && (hop.Port == 0 || hop.Port == s.port) && (hop.User == "" || hop.User == s.user)
		if itself && !strings.Contains(list, ",") {
			return nil
		}
		s.jumps = append(s.jumps, text)
	}
	return nil
}

func (s *settings) hostKeys(find lookup, p *Pool) error {
	switch said := strings.ToLower(first(find("stricthostkeychecking"))); said {
	case "", "yes", "true", "ask":
		s.strict = strictRefuse
	case "accept-new":
		s.strict = strictAcceptNew
	case "no", "off", "false":
		s.strict = strictOff
	default:
		return fmt.Errorf("StrictHostKeyChecking %q is not known: want yes, ask, accept-new or no", said)
	}
	if p.options.AcceptNew && s.strict == strictRefuse {
		s.strict = strictAcceptNew
	}
	if len(p.options.KnownHosts) > 0 {
		s.knownHosts = p.options.KnownHosts
		return nil
	}
	user, global := first(find("userknownhostsfile")), first(find("globalknownhostsfile"))
	if user == "" {
		user = "~/.ssh/known_hosts ~/.ssh/known_hosts2"
	}
	if global == "" {
		global = "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"
	}
	for _, list := range []string{user, global} {
		files, err := words.Split(list)
		if err != nil {
			return fmt.Errorf("known hosts files %q: %w", list, err)
		}
		for _, file := range files {
			if file.Text == "none" {
				continue
			}
			path, err := s.path(file.Text, p)
			if err != nil {
				return fmt.Errorf("known hosts file: %w", err)
			}
			s.knownHosts = append(s.knownHosts, path)
		}
	}
	return nil
}

// path expands tokens and ~ in a file name.
func (s *settings) path(text string, p *Pool) (string, error) {
	expanded, err := s.expand(strings.Trim(text, `"`))
	if err != nil {
		return "", err
	}
	expanded = strings.ReplaceAll(expanded, "\x00", p.options.Home)
	return p.expandHome(expanded), nil
}

func (p *Pool) expandHome(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		return filepath.Join(p.options.Home, rest)
	}
	return path
}

// expand replaces the tokens of ssh_config(5) that are known at this point. %d leaves a NUL, which path replaces.
func (s *settings) expand(text string) (string, error) {
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '%' {
			out.WriteByte(text[i])
			continue
		}
		i++
		if i == len(text) {
			return "", fmt.Errorf("%q ends in a lone %%", text)
		}
		switch text[i] {
		case '%':
			out.WriteByte('%')
		case 'h':
			out.WriteString(s.hostnameOrAlias())
		case 'n':
			out.WriteString(s.alias)
		case 'p':
			out.WriteString(strconv.Itoa(s.port))
		case 'r':
			out.WriteString(s.user)
		case 'd':
			out.WriteByte(0)
		default:
			return "", fmt.Errorf("%q: token %%%c is not known here (known: %%h %%n %%p %%r %%d %%%%)", text, text[i])
		}
	}
	return out.String(), nil
}

func (s *settings) hostnameOrAlias() string {
	if s.hostname != "" {
		return s.hostname
	}
	return s.alias
}
