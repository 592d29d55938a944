// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"drover/internal/landing"
)

// state is what a lab's folder remembers of it.
type state struct {
	Name    string    `json:"name"`
	Started time.Time `json:"started"`
	Options Options   `json:"options"`
	Hosts   []Host    `json:"hosts"`
	Rootfs  string    `json:"rootfs"`
	Ready   bool      `json:"ready"` // Up came to its end
}

// The files of a lab's folder.
const (
	stateFile      = "state.json"
	keyFile        = "id_ed25519"
	knownHostsFile = "known_hosts"
	sshConfigFile  = "ssh_config"
	passwordFile   = "operator.password"
	tokenFile      = "nomad.token"
	caFile         = "tls/ca.pem"
	clientCertFile = "tls/cli.pem"
	clientKeyFile  = "tls/cli-key.pem"
	layersDir      = "layers"
)

// lockName takes the lock of a lab's name, which one `up` or `down` holds at a time. The lock dies with its holders.
func lockName(dirs Dirs, name string) (*os.File, error) {
	if err := os.MkdirAll(dirs.State, 0o755); err != nil {
		return nil, fmt.Errorf("make the labs' folder: %w", err)
	}
	path := filepath.Join(dirs.State, name+".lock")
	for {
		file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, fmt.Errorf("open the lab's lock: %w", err)
		}
		if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			file.Close()
			return nil, fmt.Errorf("lab %q is being brought up or taken down by another process", name)
		}
		// A finished `down` removes the file: a lock on a removed file protects nothing.
		held, err := file.Stat()
		if err != nil {
			file.Close()
			return nil, fmt.Errorf("read the lab's lock: %w", err)
		}
		if named, err := os.Stat(path); err == nil && os.SameFile(held, named) {
			return file, nil
		}
		file.Close()
	}
}

func (l *Lab) path(name string) string { return filepath.Join(l.dir, name) }

func (l *Lab) save() error {
	text, err := json.MarshalIndent(l.state, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the lab's state: %w", err)
	}
	return l.writeFile(stateFile, string(text)+"\n")
}

// writeFile writes one of the lab's own files, for root only, whole or not at all.
func (l *Lab) writeFile(name, text string) error {
	path := l.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("write the lab's %s: %w", name, err)
	}
	_, err := landing.File(path, func(file *os.File) error { _, err := file.WriteString(text); return err })
	return err
}

// Open finds a lab that stands.
func Open(dirs Dirs, name string) (*Lab, error) {
	o := Options{Name: name, Dirs: dirs}.withDefaults()
	if err := checkName(o.Name); err != nil {
		return nil, err
	}
	groups, err := mountedHierarchies()
	if err != nil {
		return nil, err
	}
	l := &Lab{dir: filepath.Join(o.Dirs.State, o.Name), groups: groups}
	text, err := os.ReadFile(l.path(stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no lab %q in %s: bring one up with `drover lab up`", o.Name, o.Dirs.State)
	}
	if err != nil {
		return nil, fmt.Errorf("read lab %q: %w", o.Name, err)
	}
	if err := json.Unmarshal(text, &l.state); err != nil {
		return nil, fmt.Errorf("read lab %q: %s: %w", o.Name, l.path(stateFile), err)
	}
	return l, nil
}
