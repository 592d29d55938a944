// SPDX-License-Identifier: MPL-2.0

package connection

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"drover/internal/bounded"
	"drover/internal/secret"
)

const (
	maxKeyBytes = 1 << 20
	agentLimit  = 10 * time.Second // for a question to ssh-agent
)

// keys reads private key files, each once, and asks for a passphrase only when a server has accepted the public half.
type keys struct {
	passphrase func(file string) (secret.Text, error)

	mu    sync.Mutex
	files map[string]*keyFile
}

type keyFile struct {
	once   sync.Once
	signer ssh.Signer
	public ssh.PublicKey // also known when signer is nil: from FILE.pub
	err    error
}

func (k *keys) load(file string) *keyFile {
	k.mu.Lock()
	if k.files == nil {
		k.files = map[string]*keyFile{}
	}
	entry := k.files[file]
	if entry == nil {
		entry = &keyFile{}
		k.files[file] = entry
	}
	k.mu.Unlock()
	entry.once.Do(func() { k.read(file, entry) })
	return entry
}

func (k *keys) read(file string, entry *keyFile) {
	entry.public = readPublic(file + ".pub")
	text, err := bounded.ReadFile(file, maxKeyBytes)
	if err != nil {
		entry.err = err
		return
	}
	if public, _, _, _, err := ssh.ParseAuthorizedKey(text); err == nil {
		entry.public = public // IdentityFile may name the public half of a key that ssh-agent holds
		entry.err = errors.New("is a public key, and ssh-agent does not hold its private half")
		return
	}
	entry.signer, err = ssh.ParsePrivateKey(text)
	var locked *ssh.PassphraseMissingError
	switch {
	case errors.As(err, &locked):
		if locked.PublicKey != nil {
			entry.public = locked.PublicKey
		}
		k.lock(file, text, entry)
	case err != nil:
		entry.err = err
	default:
		entry.public = entry.signer.PublicKey()
	}
}

func (k *keys) lock(file string, text []byte, entry *keyFile) {
	switch {
	case k.passphrase == nil:
		entry.err = errors.New("is encrypted and no passphrase can be asked for (add it to ssh-agent: ssh-add)")
	case entry.public == nil:
		entry.err = errors.New("is encrypted and its public half (.pub) is missing")
	default:
		entry.signer = &lockedSigner{file: file, text: text, public: entry.public, ask: k.passphrase}
	}
}

func readPublic(file string) ssh.PublicKey {
	text, err := bounded.ReadFile(file, maxKeyBytes)
	if err != nil {
		return nil
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey(text)
	if err != nil {
		return nil
	}
	return public
}

// lockedSigner is an encrypted private key whose passphrase is asked for at the first signature.
type lockedSigner struct {
	file   string
	text   []byte
	public ssh.PublicKey
	ask    func(file string) (secret.Text, error)

	once   sync.Once
	signer ssh.AlgorithmSigner
	err    error
}

func (l *lockedSigner) PublicKey() ssh.PublicKey { return l.public }

func (l *lockedSigner) Sign(random io.Reader, data []byte) (*ssh.Signature, error) {
	return l.SignWithAlgorithm(random, data, "")
}

func (l *lockedSigner) SignWithAlgorithm(random io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	l.once.Do(l.unlock)
	if l.err != nil {
		return nil, l.err
	}
	return l.signer.SignWithAlgorithm(random, data, algorithm)
}

func (l *lockedSigner) unlock() {
	passphrase, err := l.ask(l.file)
	if err != nil {
		l.err = fmt.Errorf("passphrase of %s: %w", l.file, err)
		return
	}
	signer, err := ssh.ParsePrivateKeyWithPassphrase(l.text, []byte(passphrase.Reveal()))
	if err != nil {
		l.err = fmt.Errorf("unlock %s: %w", l.file, err)
		return
	}
	able, ok := signer.(ssh.AlgorithmSigner)
	if !ok {
		l.err = fmt.Errorf("unlock %s: the key's type %s cannot sign here", l.file, signer.PublicKey().Type())
		return
	}
	l.signer = able
}

// attempt is one authentication: what is offered, and what was, for the error when none of it is accepted.
type attempt struct {
	settings *settings
	keys     *keys
	tried    []string
	agent    net.Conn
}

func (a *attempt) note(format string, args ...any) {
	a.tried = append(a.tried, fmt.Sprintf(format, args...))
}

// close ends the conversation with ssh-agent.
func (a *attempt) close() {
	if a.agent != nil {
		_ = a.agent.Close()
	}
}

func (a *attempt) methods() []ssh.AuthMethod {
	methods := []ssh.AuthMethod{ssh.PublicKeysCallback(a.signers)}
	if password := a.settings.password; !password.Empty() {
		a.note("password")
		methods = append(methods, ssh.Password(password.Reveal()), ssh.KeyboardInteractive(answerOnce(password)))
	}
	return methods
}

// answerOnce gives the password to the first hidden question and nothing to any other.
func answerOnce(password secret.Text) ssh.KeyboardInteractiveChallenge {
	used := false
	return func(_, _ string, questions []string, echos []bool) ([]string, error) {
		answers := make([]string, len(questions))
		for i := range questions {
			if echos[i] || used {
				return nil, errors.New("the host asks for more than a password")
			}
			answers[i], used = password.Reveal(), true
		}
		return answers, nil
	}
}

// signers orders keys as OpenSSH does: the agent's that were asked for by file, the agent's others, then the files.
func (a *attempt) signers() ([]ssh.Signer, error) {
	held := a.agentSigners()
	var wanted, files, others []ssh.Signer
	for _, file := range a.settings.keyFiles {
		entry := a.keys.load(file)
		if signer := take(held, entry.public); signer != nil {
			a.note("%s (from ssh-agent)", file)
			wanted = append(wanted, a.certified(file, signer)...)
			continue
		}
		if entry.err != nil {
			if a.settings.keysGiven || !errors.Is(entry.err, fs.ErrNotExist) {
				a.note("%s: not usable: %v", file, entry.err)
			}
			continue
		}
		a.note("%s", file)
		files = append(files, a.certified(file, entry.signer)...)
	}
	if !a.settings.identitiesOnly {
		for i, signer := range held {
			if signer != nil {
				a.note("ssh-agent's key %d, %s", i+1, ssh.FingerprintSHA256(signer.PublicKey()))
				others = append(others, signer)
			}
		}
	}
	return append(append(wanted, others...), files...), nil
}

// take removes the signer of a public key from held and returns it.
func take(held []ssh.Signer, public ssh.PublicKey) ssh.Signer {
	if public == nil {
		return nil
	}
	for i, signer := range held {
		if signer != nil && bytes.Equal(signer.PublicKey().Marshal(), public.Marshal()) {
			held[i] = nil
			return signer
		}
	}
	return nil
}

func (a *attempt) agentSigners() []ssh.Signer {
	socket := a.settings.agentSocket
	if socket == "" {
		return nil
	}
	conn, err := net.DialTimeout("unix", socket, agentLimit)
	if err != nil {
		a.note("ssh-agent: not usable: %v", err)
		return nil
	}
	a.agent = conn
	_ = conn.SetReadDeadline(time.Now().Add(agentLimit))
	signers, err := agent.NewClient(conn).Signers()
	_ = conn.SetReadDeadline(time.Time{})
	if err != nil {
		a.note("ssh-agent: not usable: %v", err)
		return nil
	}
	if len(signers) == 0 {
		a.note("ssh-agent (holds no keys)")
	}
	return signers
}

// certified puts the certificates that belong to a key before the key itself.
func (a *attempt) certified(file string, signer ssh.Signer) []ssh.Signer {
	var all []ssh.Signer
	for _, name := range append(append([]string{}, a.settings.certificates...), certificateBeside(file)) {
		certificate, ok := readPublic(name).(*ssh.Certificate)
		if !ok || !bytes.Equal(certificate.Key.Marshal(), signer.PublicKey().Marshal()) {
			continue
		}
		certified, err := ssh.NewCertSigner(certificate, signer)
		if err != nil {
			a.note("%s: not usable: %v", name, err)
			continue
		}
		a.note("%s", name)
		all = append(all, certified)
	}
	return append(all, signer)
}

func certificateBeside(file string) string { return strings.TrimSuffix(file, ".pub") + "-cert.pub" }

// nonce returns text that nobody can guess, of letters and digits.
func nonce() string { return rand.Text() }
