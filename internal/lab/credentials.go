// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"strings"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/crypto/ssh"
)

// keyPair is an SSH key in the two forms that files hold.
type keyPair struct {
	private string // OpenSSH's PEM
	public  string // "ssh-ed25519 AAAA...", without comment or newline
}

func newKeyPair() (keyPair, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return keyPair{}, fmt.Errorf("make an SSH key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(private, "drover lab")
	if err != nil {
		return keyPair{}, fmt.Errorf("encode an SSH key: %w", err)
	}
	sshPublic, err := ssh.NewPublicKey(public)
	if err != nil {
		return keyPair{}, fmt.Errorf("encode an SSH key: %w", err)
	}
	return keyPair{
		private: string(pem.EncodeToMemory(block)),
		public:  strings.TrimSpace(string(ssh.MarshalAuthorizedKey(sshPublic))),
	}, nil
}

// newPassword makes a random password and the form of it that /etc/shadow takes (bcrypt, which Debian's libxcrypt reads).
func newPassword() (password, hash string, err error) {
	password = rand.Text()
	hashed, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		return "", "", fmt.Errorf("hash the operator's password: %w", err)
	}
	return password, string(hashed), nil
}
