// SPDX-License-Identifier: MPL-2.0

package testrelease

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Zip is a zip of one member, which is stored as it is where compressing it would only take time.
func Zip(t testing.TB, member string, content []byte) []byte {
	t.Helper()
	var archive bytes.Buffer
	w := zip.NewWriter(&archive)
	header := &zip.FileHeader{Name: member, Method: zip.Deflate}
	if len(content) > 1<<20 {
		header.Method = zip.Store
	}
	file, err := w.CreateHeader(header)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return archive.Bytes()
}

// Sums is what sha256sum would print of files.
func Sums(files map[string][]byte) []byte {
	var list bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(&list, "%x  %s\n", sha256.Sum256(files[name]), name)
	}
	return list.Bytes()
}

// Tree is what a release server has: URL paths, without a slash before them, and contents.
type Tree map[string][]byte

// NewTree is a signed release of programs for architectures.
func NewTree(t testing.TB, key *Key, version string, architectures ...string) Tree {
	t.Helper()
	programs := map[string][]byte{}
	for _, architecture := range architectures {
		programs[architecture] = Program(t, architecture, version)
	}
	return TreeOf(t, key, version, programs)
}

// TreeOf is a signed release of the programs that are given by architecture.
func TreeOf(t testing.TB, key *Key, version string, programs map[string][]byte) Tree {
	t.Helper()
	zips := map[string][]byte{}
	for architecture, program := range programs {
		zips[fmt.Sprintf("nomad_%s_linux_%s.zip", version, architecture)] = Zip(t, "nomad", program)
	}
	sums := Sums(zips)
	name := fmt.Sprintf("nomad_%s_SHA256SUMS", version)
	zips[name], zips[name+".sig"] = sums, key.Sign(t, sums)
	tree := Tree{}
	for name, content := range zips {
		tree[path.Join("nomad", version, name)] = content
	}
	return tree
}

// Key signs releases.
type Key struct {
	entity *openpgp.Entity
	made   time.Time
}

// NewKey is a key that was made at a time and ends after a lifetime; 0: never.
func NewKey(t testing.TB, made time.Time, lifetime time.Duration) *Key {
	t.Helper()
	made = made.Truncate(time.Second)
	config := &packet.Config{
		Algorithm: packet.PubKeyAlgoEdDSA, Time: func() time.Time { return made }, KeyLifetimeSecs: uint32(lifetime / time.Second),
	}
	entity, err := openpgp.NewEntity("drover's tests", "", "tests@drover.example", config)
	if err != nil {
		t.Fatal(err)
	}
	if err := entity.AddSigningSubkey(config); err != nil {
		t.Fatal(err)
	}
	return &Key{entity, made}
}

func (k *Key) config() *packet.Config {
	return &packet.Config{Time: func() time.Time { return k.made }}
}

// Revoke makes the key one that its owner has revoked.
func (k *Key) Revoke(t testing.TB) {
	t.Helper()
	if err := k.entity.RevokeKey(packet.KeyCompromised, "lost", k.config()); err != nil {
		t.Fatal(err)
	}
}

// Fingerprint is the primary key's, in upper-case hex.
func (k *Key) Fingerprint() string { return fmt.Sprintf("%X", k.entity.PrimaryKey.Fingerprint) }

// ShortID is what a release server puts between SHA256SUMS and .sig.
func (k *Key) ShortID() string { return k.Fingerprint()[len(k.Fingerprint())-8:] }

// Sign is a detached signature, made when the key was.
func (k *Key) Sign(t testing.TB, text []byte) []byte {
	t.Helper()
	var signature bytes.Buffer
	if err := openpgp.DetachSign(&signature, k.entity, bytes.NewReader(text), k.config()); err != nil {
		t.Fatal(err)
	}
	return signature.Bytes()
}

// SignArmored is Sign as text.
func (k *Key) SignArmored(t testing.TB, text []byte) []byte {
	t.Helper()
	var signature bytes.Buffer
	if err := openpgp.ArmoredDetachSign(&signature, k.entity, bytes.NewReader(text), k.config()); err != nil {
		t.Fatal(err)
	}
	return signature.Bytes()
}

// Public is the armoured public key.
func (k *Key) Public(t testing.TB) []byte {
	t.Helper()
	return armored(t, openpgp.PublicKeyType, func(w *bytes.Buffer) error { return k.entity.Serialize(w) })
}

// Private is the armoured private key.
func (k *Key) Private(t testing.TB) []byte {
	t.Helper()
	return armored(t, openpgp.PrivateKeyType, func(w *bytes.Buffer) error { return k.entity.SerializePrivate(w, k.config()) })
}

func armored(t testing.TB, kind string, write func(*bytes.Buffer) error) []byte {
	t.Helper()
	var plain, text bytes.Buffer
	if err := write(&plain); err != nil {
		t.Fatal(err)
	}
	w, err := armor.Encode(&text, kind, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plain.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return []byte(strings.TrimSpace(text.String()) + "\n")
}
