// SPDX-License-Identifier: MPL-2.0

package connection

import (
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"drover/internal/secret"
)

// alongside makes a second server accept the first one's client key, and puts both host keys into one file.
func alongside(first *sshd) sshdOption {
	return func(s *sshd, config *strings.Builder) {
		text, err := os.ReadFile(first.knownHosts)
		if err != nil {
			s.t.Fatal(err)
		}
		own, err := os.ReadFile(s.knownHosts)
		if err != nil {
			s.t.Fatal(err)
		}
		write(s.t, first.knownHosts, string(text)+string(own))
		fmt.Fprintf(config, "AuthorizedKeysFile %s/authorized\n", first.dir)
	}
}

func TestProxyJump(t *testing.T) {
	server := startSSHD(t)
	second := startSSHD(t, alongside(server))
	third := startSSHD(t, alongside(server))
	target := server.target()
	target.CommonArgs = mustArgs(t, fmt.Sprintf("-J %s@127.0.0.1:%d,%s@127.0.0.1:%d -i %s", second.user, second.port, third.user, third.port, server.keyFile))
	config := filepath.Join(server.dir, "config")
	write(t, config, "Host 127.0.0.1\n  IdentityFile "+server.keyFile+"\n")
	options := server.options()
	options.ConfigFiles = []string{config}
	p := pool(t, options)
	var failures atomic.Int32
	var all sync.WaitGroup
	for i := range 12 {
		target := target
		target.Name = fmt.Sprint("n", i)
		all.Go(func() {
			if _, err := p.Host(limited(t, 30*time.Second), target, false); err != nil {
				failures.Add(1)
				t.Error(err)
			}
		})
	}
	all.Wait()
	if accepted := strings.Count(second.log.String(), "Accepted publickey"); accepted != 1 {
		t.Errorf("the first jump host saw %d logins, want one shared by all", accepted)
	}
	if accepted := strings.Count(server.log.String(), "Accepted publickey"); accepted != 12 {
		t.Errorf("the host saw %d logins, want 12", accepted)
	}
}

func TestJumpHostThatForbidsForwarding(t *testing.T) {
	server := startSSHD(t)
	second := startSSHD(t, alongside(server), with("AllowTcpForwarding no"))
	config := filepath.Join(server.dir, "config")
	write(t, config, fmt.Sprintf("Host gate\n  HostName 127.0.0.1\n  Port %d\n  User %s\n  IdentityFile %s\nHost *\n  ProxyJump gate\n", second.port, second.user, server.keyFile))
	options := server.options()
	options.ConfigFiles = []string{config, "/nonexistent"}
	refused(t, options, server.target(), "jump host", "may not forward", "AllowTcpForwarding")
}

func TestProxyCommand(t *testing.T) {
	server := startSSHD(t)
	target := server.target()
	target.CommonArgs = mustArgs(t, `-o ProxyCommand="bash -c 'exec 3<>/dev/tcp/%h/%p; cat <&3 & cat >&3'"`)
	reached(t, server.options(), target)
}

// serveAgent is an ssh-agent of this process with one key.
func serveAgent(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	private, err := ssh.ParseRawPrivateKey(text)
	if err != nil {
		t.Fatal(err)
	}
	ring := agent.NewKeyring()
	if err := ring.Add(agent.AddedKey{PrivateKey: private}); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "agent")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { _ = agent.ServeAgent(ring, conn); _ = conn.Close() })
		}
	})
	t.Cleanup(func() { _ = l.Close(); all.Wait() })
	return socket
}

func TestSSHAgent(t *testing.T) {
	server := startSSHD(t)
	options := server.options()
	options.AgentSocket = serveAgent(t, server.keyFile)
	target := server.target()
	target.KeyFiles = nil
	reached(t, options, target)
	t.Run("IdentitiesOnly leaves its keys out", func(t *testing.T) {
		target.CommonArgs = mustArgs(t, "-o IdentitiesOnly=yes")
		refused(t, options, target, "does not let user")
	})
	t.Run("a public key file picks one", func(t *testing.T) {
		target.CommonArgs = mustArgs(t, "-o IdentitiesOnly=yes -i "+server.keyFile+".pub")
		reached(t, options, target)
	})
	t.Run("IdentityAgent", func(t *testing.T) {
		own := server.options()
		target.CommonArgs = mustArgs(t, "-o IdentityAgent="+options.AgentSocket)
		reached(t, own, target)
		target.CommonArgs = mustArgs(t, "-o IdentityAgent=none")
		refused(t, options, target, "does not let user")
	})
}

func TestUserCertificate(t *testing.T) {
	server := startSSHD(t, func(s *sshd, config *strings.Builder) {
		authority := writeKey(s.t, s.dir+"/authority")
		write(s.t, s.dir+"/authority-list", string(ssh.MarshalAuthorizedKey(authority)))
		fmt.Fprintf(config, "TrustedUserCAKeys %s/authority-list\n", s.dir)
	})
	key := filepath.Join(server.dir, "fresh")
	certificate := &ssh.Certificate{
		Key: writeKey(t, key), CertType: ssh.UserCert, ValidPrincipals: []string{server.user},
		ValidBefore: ssh.CertTimeInfinity, KeyId: "user",
	}
	if err := certificate.SignCert(rand.Reader, readSigner(t, server.dir+"/authority")); err != nil {
		t.Fatal(err)
	}
	target := server.target()
	target.KeyFiles = []string{key}
	refused(t, server.options(), target, "does not let user")
	write(t, key+"-cert.pub", string(ssh.MarshalAuthorizedKey(certificate)))
	reached(t, server.options(), target)
}

func TestPassphrase(t *testing.T) {
	server := startSSHD(t)
	if output, err := exec.Command("ssh-keygen", "-q", "-p", "-N", "open sesame", "-f", server.keyFile).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	refused(t, server.options(), server.target(), "encrypted", "ssh-add")
	options := server.options()
	asked := 0
	options.Passphrase = func(string) (secret.Text, error) { asked++; return secret.New("open sesame"), nil }
	p := pool(t, options)
	for _, name := range []string{"n1", "n2"} {
		target := server.target()
		target.Name = name
		if _, err := p.Host(limited(t, 20*time.Second), target, false); err != nil {
			t.Fatal(err)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times, want once", asked)
	}
}
