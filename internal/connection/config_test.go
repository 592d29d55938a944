// SPDX-License-Identifier: MPL-2.0

package connection

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"drover/internal/secret"
)

const exampleConfig = `
Host gate
  HostName gate.example.com
  User jumper
  Port 2200

Host n? !n9
  HostName %h.internal
  User nomad
  IdentityFile ~/.ssh/fleet
  IdentitiesOnly yes
  ProxyJump gate
  HostKeyAlias fleet-%h
  ConnectTimeout 7

Host n9
  ProxyCommand nc -X connect %h %p %r %n %%

Host *
  IdentityFile ~/.ssh/other
  User everyone
  UserKnownHostsFile ~/.ssh/known_a ~/.ssh/known_b
  StrictHostKeyChecking accept-new
`

func resolved(t *testing.T, home string, target Target) (settings, error) {
	t.Helper()
	p := pool(t, Options{Home: home, User: "me", ConfigFiles: []string{filepath.Join(home, ".ssh/config"), "/nonexistent"}, AgentSocket: "/run/agent", Environ: os.Environ()})
	return p.resolve(context.Background(), target)
}

func TestResolve(t *testing.T) {
	home := t.TempDir()
	write(t, home+"/.ssh/config", exampleConfig)
	known := []string{home + "/.ssh/known_a", home + "/.ssh/known_b", "/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"}
	for _, test := range []struct {
		name   string
		target Target
		want   settings
	}{
		{
			name: "from the configuration", target: Target{Name: "n1"},
			want: settings{
				name: "n1", alias: "n1", hostname: "n1.internal", port: 22, user: "nomad", keyFiles: []string{home + "/.ssh/fleet", home + "/.ssh/other"},
				keysGiven: true, identitiesOnly: true, agentSocket: "/run/agent", jumps: []string{"gate"}, hostKeyAlias: "fleet-%h", timeout: 7 * time.Second,
			},
		},
		{
			name: "the inventory counts more", target: Target{Name: "x", Address: "n1", Port: 99, User: "bob", KeyFiles: []string{"/k"}, Timeout: time.Second},
			want: settings{
				name: "x", alias: "n1", hostname: "n1.internal", port: 99, user: "bob", keyFiles: []string{"/k", home + "/.ssh/fleet", home + "/.ssh/other"},
				keysGiven: true, identitiesOnly: true, agentSocket: "/run/agent", jumps: []string{"gate"}, hostKeyAlias: "fleet-%h", timeout: time.Second,
			},
		},
		{
			name: "arguments come between", target: Target{Name: "n1", CommonArgs: mustArgs(t, "-l carol -o ProxyCommand='run %h' -o IdentityAgent=none")},
			want: settings{
				name: "n1", alias: "n1", hostname: "n1.internal", port: 22, user: "carol", keyFiles: []string{home + "/.ssh/fleet", home + "/.ssh/other"},
				keysGiven: true, identitiesOnly: true, proxyCommand: "run n1.internal", hostKeyAlias: "fleet-%h", timeout: 7 * time.Second,
			},
		},
		{
			name: "negation and tokens", target: Target{Name: "n9", Port: 8},
			want: settings{
				name: "n9", alias: "n9", hostname: "n9", port: 8, user: "everyone", keyFiles: []string{home + "/.ssh/other"},
				keysGiven: true, agentSocket: "/run/agent", proxyCommand: "nc -X connect n9 8 everyone n9 %", timeout: 10 * time.Second,
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.want.knownHosts, test.want.strict = known, strictAcceptNew
			got, err := resolved(t, home, test.target)
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(settings{}, secret.Text{})); err != nil || diff != "" {
				t.Errorf("%v\n%s", err, diff)
			}
		})
	}
}

func TestResolveRefuses(t *testing.T) {
	for _, test := range []struct{ name, config, want string }{
		{"port", "Host *\nPort 99999", "port"},
		{"token", "Host *\nProxyCommand x %Q", "%Q is not known"},
		{"strict", "Host *\nStrictHostKeyChecking maybe", "StrictHostKeyChecking"},
		{"timeout", "Host *\nConnectTimeout soon", "ConnectTimeout"},
		{"jump port", "Host *\nProxyJump gate:x", "port"},
		{"circular include", "Include ~loop~", "Include goes deeper"},
	} {
		t.Run(test.name, func(t *testing.T) {
			home := t.TempDir()
			write(t, home+"/.ssh/config", strings.ReplaceAll(test.config, "~loop~", home+"/.ssh/config"))
			if _, err := resolved(t, home, Target{Name: "n1"}); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

// TestMatchIsLeftToOpenSSH uses the block that the library reads as "host is n1, user or bob".
func TestMatchIsLeftToOpenSSH(t *testing.T) {
	if _, err := exec.LookPath("ssh"); err != nil {
		absent(t, "openssh-client is not installed")
	}
	home := t.TempDir()
	write(t, home+"/.ssh/config", "Include "+home+"/more\nHost *\n  IdentityFile ~/.ssh/every\n  Port 23\n")
	write(t, home+"/more", "Match host n1 user bob\n  HostName for-bob\n  Port 24\nMatch exec \"test %h = n2\"\n  HostName by-exec\n")
	for _, test := range []struct {
		name, user, hostname string
		port                 int
	}{
		{"n1", "bob", "for-bob", 24},
		{"n1", "eve", "n1", 23},
		{"n2", "", "by-exec", 23},
	} {
		got, err := resolved(t, home, Target{Name: test.name, User: test.user})
		if err != nil || got.hostname != test.hostname || got.port != test.port {
			t.Errorf("%s as %q: %s:%d, %v; want %s:%d", test.name, test.user, got.hostname, got.port, err, test.hostname, test.port)
		}
	}
	t.Run("without ssh", func(t *testing.T) {
		t.Setenv("PATH", "")
		if _, err := resolved(t, home, Target{Name: "n1"}); err == nil || !strings.Contains(err.Error(), home+"/more:1 has a Match block") {
			t.Errorf("error %v", err)
		}
	})
}

// TestResolveAgreesWithOpenSSH asks ssh -G the same.
func TestResolveAgreesWithOpenSSH(t *testing.T) {
	if _, err := exec.LookPath("ssh"); err != nil {
		absent(t, "openssh-client is not installed")
	}
	home := t.TempDir()
	file := home + "/.ssh/config"
	write(t, file, exampleConfig)
	for _, host := range []string{"gate", "n1", "n9", "other"} {
		output, err := exec.Command("ssh", "-G", "-F", file, host).Output()
		if err != nil {
			t.Fatal(err)
		}
		theirs := map[string]string{}
		for line := range strings.Lines(string(output)) {
			key, value := splitKeyword(line)
			theirs[key] = strings.TrimSpace(value)
		}
		ours, err := resolved(t, home, Target{Name: host})
		if err != nil {
			t.Fatal(err)
		}
		if theirs["hostname"] != ours.hostname || theirs["user"] != ours.user || theirs["proxyjump"] != strings.Join(ours.jumps, ",") {
			t.Errorf("%s: ssh says %s@%s by %s, we %s@%s by %s", host, theirs["user"], theirs["hostname"], theirs["proxyjump"], ours.user, ours.hostname, ours.jumps)
		}
	}
}
