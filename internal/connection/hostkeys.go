// SPDX-License-Identifier: MPL-2.0

package connection

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"

	"drover/internal/modules"
	"drover/internal/words"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"
)

// hostKeys reads known_hosts files, each set of them once, and adds to them under accept-new.
type hostKeys struct {
	mu    sync.Mutex
	cache map[string]*knownhosts.HostKeyDB
}

func (h *hostKeys) load(files []string) (*knownhosts.HostKeyDB, error) {
	key := strings.Join(files, "\x00")
	h.mu.Lock()
	defer h.mu.Unlock()
	if db := h.cache[key]; db != nil {
		return db, nil
	}
	var present []string
	for _, file := range files {
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
			present = append(present, file)
		}
	}
	db, err := knownhosts.NewDB(present...)
	if err != nil {
		return nil, fmt.Errorf("known hosts: %w", err)
	}
	if h.cache == nil {
		h.cache = map[string]*knownhosts.HostKeyDB{}
	}
	h.cache[key] = db
	return db, nil
}

// lookupName is the name under which a host's key is filed.
func (s *settings) lookupName() string {
	if s.hostKeyAlias != "" {
		return net.JoinHostPort(s.hostKeyAlias, "22")
	}
	return net.JoinHostPort(s.hostname, strconv.Itoa(s.port))
}

// plainHostKeyAlgorithms are offered to hosts that no file knows: without certificates, so that a key is seen.
func plainHostKeyAlgorithms() []string {
	return []string{ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
}

// check returns the algorithms to offer and the check to make of a host's key. The algorithms follow what the files
// hold: a host whose file entry is only ed25519 must not be asked for its ECDSA key.
func (h *hostKeys) check(s *settings, warn func(host, text string)) ([]string, ssh.HostKeyCallback, error) {
	db, err := h.load(s.knownHosts)
	if err != nil {
		return nil, nil, err
	}
	name := s.lookupName()
	algorithms := db.HostKeyAlgorithms(name)
	if len(algorithms) == 0 {
		algorithms = plainHostKeyAlgorithms()
	}
	callback := db.HostKeyCallback()
	return algorithms, func(_ string, remote net.Addr, key ssh.PublicKey) error {
		err := callback(name, remote, key)
		if err == nil {
			return nil
		}
		return h.refuse(s, name, remote, key, err, warn)
	}, nil
}

func (h *hostKeys) refuse(s *settings, name string, remote net.Addr, key ssh.PublicKey, err error, warn func(host, text string)) error {
	var revoked *xknownhosts.RevokedError
	if errors.As(err, &revoked) {
		return obstacle(modules.ObstacleHostKeyChanged, "do not connect; ask who runs the host for its new key", "the host's key %s is marked as revoked in %s:%d",
			ssh.FingerprintSHA256(key), revoked.Revoked.Filename, revoked.Revoked.Line)
	}
	if s.strict == strictOff {
		warn(s.name, fmt.Sprintf("WARNING: the host's key %s is not checked (StrictHostKeyChecking no): anyone between here and there can take its place: %v", ssh.FingerprintSHA256(key), err))
		return nil
	}
	var mismatch *xknownhosts.KeyError
	if !errors.As(err, &mismatch) {
		return final(fmt.Errorf("the host's key %s is not accepted: %w", ssh.FingerprintSHA256(key), err))
	}
	if len(mismatch.Want) > 0 {
		remedy := fmt.Sprintf("ask who runs the host whether its key was changed, and compare the fingerprint; only if the new key is right, remove that line (ssh-keygen -R %s -f %s) and add the new one",
			words.Quote(knownhosts.Normalize(name)), words.Quote(mismatch.Want[0].Filename))
		return obstacle(modules.ObstacleHostKeyChanged, remedy, "the host's key has CHANGED: it shows %s %s, but %s holds another one: either the host was reinstalled or someone is in between",
			key.Type(), ssh.FingerprintSHA256(key), places(mismatch.Want))
	}
	if s.strict == strictAcceptNew {
		return h.add(s, name, remote, key)
	}
	return h.unknown(s, name, key)
}

func places(keys []xknownhosts.KnownKey) string {
	var lines []string
	for _, key := range keys {
		lines = append(lines, fmt.Sprintf("%s:%d", key.Filename, key.Line))
	}
	return strings.Join(lines, ", ")
}

func (h *hostKeys) unknown(s *settings, name string, key ssh.PublicKey) error {
	host, port, _ := net.SplitHostPort(name)
	remedy := fmt.Sprintf("compare the fingerprint with the host's own (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub there), then add it (ssh-keyscan -p %s %s >> %s) or give --accept-new",
		port, words.Quote(host), words.Quote(first(s.knownHosts)))
	return obstacle(modules.ObstacleHostKeyUnknown, remedy, "the host's key is unknown: %s %s for %s is in none of %s",
		key.Type(), ssh.FingerprintSHA256(key), knownhosts.Normalize(name), strings.Join(s.knownHosts, ", "))
}

// add stores a new host's key in the first file, once, and forgets what was read so that the next dial sees it.
func (h *hostKeys) add(s *settings, name string, remote net.Addr, key ssh.PublicKey) error {
	if len(s.knownHosts) == 0 {
		return final(errors.New("accept-new: there is no known_hosts file to store the host's key in"))
	}
	file := s.knownHosts[0]
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return final(fmt.Errorf("accept-new: %w", err))
	}
	f, err := os.OpenFile(file, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return final(fmt.Errorf("accept-new: %w", err))
	}
	line := knownhosts.Line([]string{name}, key) + "\n"
	if info, err := f.Stat(); err == nil && info.Size() > 0 {
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, info.Size()-1); err == nil && last[0] != '\n' {
			line = "\n" + line
		}
	}
	_, err = f.WriteString(line)
	if err = errors.Join(err, f.Close()); err != nil {
		return final(fmt.Errorf("accept-new: store the key of %s (%s) in %s: %w", name, remote, file, err))
	}
	h.cache = nil
	return nil
}
