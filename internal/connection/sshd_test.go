// SPDX-License-Identifier: MPL-2.0

package connection

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"drover/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// standin and realAgent are built once and packed as the build does.
var (
	standin   = sync.OnceValues(func() (fs.FS, error) { return buildAgent("drover/internal/connection/testdata/standin") })
	realAgent = sync.OnceValues(func() (fs.FS, error) { return buildAgent("drover/cmd/drover-agent") })
)

func buildAgent(pkg string) (fs.FS, error) {
	dir, err := os.MkdirTemp("", "drover-agent-test")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "agent")
	build := exec.Command("go", "build", "-ldflags", "-s -w", "-o", program, pkg)
	if output, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, output)
	}
	text, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	return packAgent(text, wire.Source)
}

func packAgent(program []byte, source string) (fs.FS, error) {
	sum := sha256.Sum256(program)
	platform := "linux-" + runtime.GOARCH
	text, err := json.Marshal(manifest{Source: source, Agents: map[string]agentFile{platform: {SHA256: hex.EncodeToString(sum[:]), Size: int64(len(program))}}})
	if err != nil {
		return nil, err
	}
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return nil, err
	}
	defer encoder.Close()
	return fstest.MapFS{
		"manifest.json":   {Data: text},
		platform + ".zst": {Data: encoder.EncodeAll(program, nil)},
	}, nil
}

// sshd is a real OpenSSH server on loopback with keys of its own.
type sshd struct {
	t          testing.TB
	dir        string
	port       int
	hostKey    ssh.PublicKey
	keyFile    string // a client key that it accepts
	knownHosts string
	home       string // of the client
	user       string
	before     []string // what the server is started by
	process    *exec.Cmd
	log        *serverLog
}

// serverLog is what the server says, which may be read while it runs.
type serverLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *serverLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *serverLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

type sshdOption func(s *sshd, config *strings.Builder)

func with(line string) sshdOption {
	return func(_ *sshd, config *strings.Builder) { config.WriteString(line + "\n") }
}

func startSSHD(t testing.TB, options ...sshdOption) *sshd {
	t.Helper()
	program := "/usr/sbin/sshd"
	if _, err := os.Stat(program); err != nil {
		absent(t, "openssh-server is not installed")
	}
	if os.Geteuid() != 0 {
		absent(t, "a real sshd needs root")
	}
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		t.Fatal(err)
	}
	s := &sshd{t: t, dir: t.TempDir(), port: freePort(t), user: currentUser(t), log: &serverLog{}}
	s.home = filepath.Join(s.dir, "home")
	s.knownHosts = filepath.Join(s.dir, "known_hosts")
	s.keyFile = filepath.Join(s.dir, "client")
	s.hostKey = writeKey(t, filepath.Join(s.dir, "host"))
	clientKey := writeKey(t, s.keyFile)
	write(t, filepath.Join(s.dir, "authorized"), string(ssh.MarshalAuthorizedKey(clientKey)))
	s.trust()
	var config strings.Builder
	for _, option := range options {
		option(s, &config)
	}
	fmt.Fprintf(&config, "ListenAddress 127.0.0.1\nPort %d\nHostKey %s/host\nAuthorizedKeysFile %s/authorized\nStrictModes no\nUsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPidFile none\nSubsystem sftp internal-sftp\nMaxStartups 100\n", s.port, s.dir, s.dir)
	write(t, filepath.Join(s.dir, "sshd_config"), config.String())
	argv := append(s.before, program, "-D", "-e", "-f", filepath.Join(s.dir, "sshd_config"))
	s.process = exec.Command(argv[0], argv[1:]...)
	s.process.Stderr = s.log
	s.process.WaitDelay = time.Second // sessions outlive the listener
	if err := s.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	s.wait()
	return s
}

func absent(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

func (s *sshd) stop() {
	if s.process.ProcessState != nil {
		return
	}
	_ = s.process.Process.Kill()
	_ = s.process.Wait()
	if s.t.Failed() {
		s.t.Logf("sshd on port %d:\n%s", s.port, s.log.String())
	}
}

func (s *sshd) wait() {
	deadline := time.Now().Add(10 * time.Second)
	for {
		conn, err := net.Dial("tcp", s.address())
		if err == nil {
			_ = conn.Close()
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("sshd does not listen: %v\n%s", err, s.log.String())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (s *sshd) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

func (s *sshd) trust() {
	write(s.t, s.knownHosts, fmt.Sprintf("[127.0.0.1]:%d %s", s.port, ssh.MarshalAuthorizedKey(s.hostKey)))
}

func (s *sshd) target() Target {
	return Target{
		Name: "n1", Address: "127.0.0.1", Port: s.port, User: s.user, KeyFiles: []string{s.keyFile},
		AgentDirs: []string{filepath.Join(s.dir, "agents")},
	}
}

func (s *sshd) options() Options {
	s.t.Helper()
	agents, err := standin()
	if err != nil {
		s.t.Fatal(err)
	}
	return Options{Home: s.home, User: s.user, ConfigFiles: []string{}, KnownHosts: []string{s.knownHosts}, Agents: agents, Run: "test", Holder: "test", Environ: os.Environ()}
}

// pool makes a pool that is closed when the test ends.
func pool(t testing.TB, options Options) *Pool {
	t.Helper()
	p := New(options)
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func limited(t testing.TB, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func currentUser(t testing.TB) string {
	t.Helper()
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return u.Username
}

func writeKey(t testing.TB, file string) ssh.PublicKey {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, string(pem.EncodeToMemory(block)))
	write(t, file+".pub", string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
	return signer.PublicKey()
}

func readSigner(t testing.TB, file string) ssh.Signer {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.ParsePrivateKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func writeRSAKey(t testing.TB, file string) ssh.PublicKey {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, string(pem.EncodeToMemory(block)))
	return readSigner(t, file).PublicKey()
}

// greeting returns what a host's agent said when it was started, connecting where necessary.
func greeting(ctx context.Context, p *Pool, target Target, become bool) (wire.HelloResult, error) {
	h := &host{pool: p, target: target, become: become}
	s, err := h.session(ctx)
	if err != nil {
		return wire.HelloResult{}, err
	}
	return s.hello, nil
}
