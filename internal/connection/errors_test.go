// SPDX-License-Identifier: MPL-2.0

package connection

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/crypto/ssh"

	"drover/internal/modules"
)

// refused connects and returns the error, which must be a *modules.Unreachable and hold all of want.
func refused(t *testing.T, options Options, target Target, want ...string) {
	t.Helper()
	_, err := pool(t, options).Host(limited(t, 20*time.Second), target, false)
	var unreachable *modules.Unreachable
	if !errors.As(err, &unreachable) || unreachable.Host != target.Name {
		t.Fatalf("got %v, want an Unreachable of %s", err, target.Name)
	}
	for _, text := range want {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error lacks %q: %v", text, err)
		}
	}
}

func TestHostKeys(t *testing.T) {
	server := startSSHD(t)
	other := writeKey(t, filepath.Join(server.dir, "other"))
	line := func(key ssh.PublicKey) string {
		return fmt.Sprintf("[127.0.0.1]:%d %s", server.port, ssh.MarshalAuthorizedKey(key))
	}
	fingerprint := ssh.FingerprintSHA256(server.hostKey)
	t.Run("unknown", func(t *testing.T) {
		write(t, server.knownHosts, "")
		refused(t, server.options(), server.target(), fingerprint, server.knownHosts, "ssh-keyscan -p "+fmt.Sprint(server.port), "--accept-new")
	})
	t.Run("unknown and no file", func(t *testing.T) {
		if err := os.Remove(server.knownHosts); err != nil {
			t.Fatal(err)
		}
		refused(t, server.options(), server.target(), fingerprint, server.knownHosts)
	})
	t.Run("changed", func(t *testing.T) {
		write(t, server.knownHosts, "# first line\n"+line(other))
		refused(t, server.options(), server.target(), "CHANGED", fingerprint, server.knownHosts+":2")
	})
	t.Run("changed is refused under accept-new", func(t *testing.T) {
		options := server.options()
		options.AcceptNew = true
		refused(t, options, server.target(), "CHANGED")
	})
	t.Run("revoked", func(t *testing.T) {
		write(t, server.knownHosts, "@revoked * "+string(ssh.MarshalAuthorizedKey(server.hostKey))+line(server.hostKey))
		refused(t, server.options(), server.target(), "revoked", server.knownHosts+":1")
	})
	t.Run("accept-new stores the key, which then counts", func(t *testing.T) {
		write(t, server.knownHosts, "# no newline at the end")
		options := server.options()
		options.AcceptNew = true
		reached(t, options, server.target())
		text, err := os.ReadFile(server.knownHosts)
		if err != nil || strings.Count(string(text), "ssh-ed25519") != 1 {
			t.Fatalf("known_hosts: %q, %v", text, err)
		}
		reached(t, server.options(), server.target())
	})
	t.Run("no checking warns loudly", func(t *testing.T) {
		write(t, server.knownHosts, line(other))
		options, target := server.options(), server.target()
		var warned string
		options.Warn = func(host, text string) { warned = host + " " + text }
		target.CommonArgs = mustArgs(t, "-o StrictHostKeyChecking=no")
		reached(t, options, target)
		if !strings.Contains(warned, "n1 WARNING") || !strings.Contains(warned, fingerprint) {
			t.Errorf("warned %q", warned)
		}
	})
}

func reached(t *testing.T, options Options, target Target) {
	t.Helper()
	if _, err := pool(t, options).Host(limited(t, 20*time.Second), target, false); err != nil {
		t.Fatal(err)
	}
}

func mustArgs(t *testing.T, text string) CommonArgs {
	t.Helper()
	args, err := ParseCommonArgs(text)
	if err != nil {
		t.Fatal(err)
	}
	return args
}

func TestHostKeyByAuthority(t *testing.T) {
	server := startSSHD(t, func(s *sshd, config *strings.Builder) {
		fmt.Fprintf(config, "HostCertificate %s/host-cert.pub\n", s.dir)
		authority := writeKey(s.t, s.dir+"/authority")
		certificate := &ssh.Certificate{
			Key: s.hostKey, CertType: ssh.HostCert, ValidPrincipals: []string{"127.0.0.1"},
			ValidBefore: ssh.CertTimeInfinity, KeyId: "host",
		}
		if err := certificate.SignCert(rand.Reader, readSigner(s.t, s.dir+"/authority")); err != nil {
			s.t.Fatal(err)
		}
		write(s.t, s.dir+"/host-cert.pub", string(ssh.MarshalAuthorizedKey(certificate)))
		write(s.t, s.knownHosts, "@cert-authority * "+string(ssh.MarshalAuthorizedKey(authority)))
	})
	reached(t, server.options(), server.target())
}

// TestHostKeyAlgorithmFollowsTheFile has a host with two keys of which the file knows the less usual one.
func TestHostKeyAlgorithmFollowsTheFile(t *testing.T) {
	server := startSSHD(t, func(s *sshd, config *strings.Builder) {
		key := writeRSAKey(s.t, s.dir+"/rsa")
		fmt.Fprintf(config, "HostKey %s/rsa\n", s.dir)
		write(s.t, s.knownHosts, fmt.Sprintf("[127.0.0.1]:%d %s", s.port, ssh.MarshalAuthorizedKey(key)))
	})
	reached(t, server.options(), server.target())
}

func TestAuthenticationErrors(t *testing.T) {
	server := startSSHD(t)
	target := server.target()
	target.KeyFiles = []string{filepath.Join(server.dir, "wrong"), filepath.Join(server.dir, "missing")}
	writeKey(t, target.KeyFiles[0])
	refused(t, server.options(), target, "does not let user", target.KeyFiles[0], target.KeyFiles[1]+": not usable", "publickey")
	target.KeyFiles = nil
	refused(t, server.options(), target, "no key file, no ssh-agent and no password")
}

func TestNothingListens(t *testing.T) {
	server := startSSHD(t)
	target := server.target()
	target.Port = freePort(t)
	refused(t, server.options(), target, "connection refused", "ansible_port")
	target.Address = "no-such-host.invalid"
	refused(t, server.options(), target, `the name "no-such-host.invalid" has no address`)
}

func TestAgentsThatDoNotFit(t *testing.T) {
	server := startSSHD(t)
	options := server.options()
	var err error
	if options.Agents, err = packAgent([]byte("x"), "another"); err != nil {
		t.Fatal(err)
	}
	refused(t, options, server.target(), "built from source another", "make build")
	options.Agents = os.DirFS(t.TempDir())
	refused(t, options, server.target(), "built without agents", "make build")
}

func TestMarkerOfAnotherSourceIsRefused(t *testing.T) {
	server := startSSHD(t)
	options := server.options()
	var err error
	if options.Agents, err = packAgent([]byte("#!/bin/sh\necho drover-agent ready protocol=1 source=older\n"), "unknown"); err != nil {
		t.Fatal(err)
	}
	refused(t, options, server.target(), "source=older", "make build")
}

func TestNoPlaceForTheAgent(t *testing.T) {
	server := startSSHD(t)
	target := server.target()
	target.AgentDirs = []string{"/proc/drover", "/dev/null/x"}
	refused(t, server.options(), target, "no directory", "/proc/drover", "/dev/null/x")
}

func TestMachineWithoutAnAgent(t *testing.T) {
	server := startSSHD(t)
	options := server.options()
	other := map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH]
	options.Agents = fstest.MapFS{"manifest.json": {Data: []byte(`{"source":"unknown","agents":{"linux-` + other + `":{"sha256":"` + strings.Repeat("0", 64) + `","size":1}}}`)}}
	refused(t, options, server.target(), "machine type is", "x86_64 and aarch64")
}
