// SPDX-License-Identifier: MPL-2.0

package release

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"drover/internal/bounded"
)

const maximumKey = 1 << 20

// keys are the public keys whose signatures count.
type keys struct {
	ring  openpgp.EntityList
	named string // the file that the user named; "": the key is HashiCorp's
}

// readKeys reads the armoured or binary public keys of a file; without a file it is HashiCorp's key.
func readKeys(path string) (keys, error) {
	text := []byte(hashicorpKey)
	if path != "" {
		var err error
		if text, err = bounded.ReadFile(path, maximumKey); err != nil {
			return keys{}, fmt.Errorf("read the release key: %w", err)
		}
	}
	var ring openpgp.EntityList
	var err error
	if bytes.Contains(text, []byte("-----BEGIN ")) {
		ring, err = openpgp.ReadArmoredKeyRing(bytes.NewReader(text))
	} else {
		ring, err = openpgp.ReadKeyRing(bytes.NewReader(text))
	}
	if err != nil || len(ring) == 0 {
		return keys{}, fmt.Errorf("the release key %s is not an OpenPGP public key (what gpg --armor --export KEY writes): %w", path, orEmpty(err))
	}
	for _, entity := range ring {
		if entity.PrivateKey != nil {
			return keys{}, fmt.Errorf("the release key %s is a private key, which has no business here: give the public one (what gpg --armor --export KEY writes)", path)
		}
	}
	return keys{ring: ring, named: path}, nil
}

func orEmpty(err error) error {
	if err == nil {
		return errors.New("there is no key in it")
	}
	return err
}

func fingerprint(entity *openpgp.Entity) string {
	return fmt.Sprintf("%X", entity.PrimaryKey.Fingerprint)
}

func (k keys) fingerprints() []string {
	var all []string
	for _, entity := range k.ring {
		all = append(all, fingerprint(entity))
	}
	return all
}

// shortIDs are what release servers put between SHA256SUMS and .sig: the last eight digits of a primary key's fingerprint.
func (k keys) shortIDs() []string {
	var all []string
	for _, full := range k.fingerprints() {
		all = append(all, full[max(0, len(full)-8):])
	}
	return all
}

// String names the keys for a person.
func (k keys) String() string {
	if k.named == "" {
		return "HashiCorp's key " + strings.Join(k.fingerprints(), ", ")
	}
	return "the key " + strings.Join(k.fingerprints(), ", ") + " of " + k.named
}

// newer says how to give another key than the one that is no good any more.
func (k keys) newer() string {
	if k.named == "" {
		return "get HashiCorp's newer public key (https://www.hashicorp.com/trust/security) and name it with --release-key FILE"
	}
	return "name a newer public key with --release-key FILE"
}

// foreign is a signature by none of the keys.
type foreign struct{ error }

func isForeign(err error) bool {
	var other foreign
	return errors.As(err, &other)
}

// verify checks a detached signature, binary or armoured, as of now, and returns the fingerprint of the primary key that answers
// for it. The names are those of the files, for the errors.
func (k keys) verify(name string, signed []byte, signatureName string, signature []byte, now time.Time) (string, error) {
	if bytes.HasPrefix(bytes.TrimSpace(signature), []byte("-----BEGIN ")) {
		block, err := armor.Decode(bytes.NewReader(signature))
		if err != nil {
			return "", fmt.Errorf("%s is not an OpenPGP signature: %w", signatureName, err)
		}
		var plain bytes.Buffer
		if _, err := plain.ReadFrom(block.Body); err != nil {
			return "", fmt.Errorf("%s is not an OpenPGP signature: %w", signatureName, err)
		}
		signature = plain.Bytes()
	}
	issuers, err := issuersOf(signature)
	if err != nil {
		return "", fmt.Errorf("%s is not an OpenPGP signature: %w", signatureName, err)
	}
	config := &packet.Config{Time: func() time.Time { return now }}
	made, signer, err := openpgp.VerifyDetachedSignature(k.ring, bytes.NewReader(signed), bytes.NewReader(signature), config)
	var invalid pgperrors.SignatureError
	switch {
	case err == nil:
		return fingerprint(signer), nil
	case errors.Is(err, pgperrors.ErrUnknownIssuer):
		return "", foreign{fmt.Errorf("%s was signed by the key %s, and only %s counts: the files may have been exchanged; if their owner signs releases with a key of their own, name its public key with --release-key FILE",
			name, strings.Join(issuers, ", "), k)}
	case errors.Is(err, pgperrors.ErrKeyExpired):
		return "", fmt.Errorf("%s was signed by %s, which expired on %s (today is %s): %s",
			name, k.signerName(signer), expiry(signer, made), now.UTC().Format(time.DateOnly), k.newer())
	case errors.Is(err, pgperrors.ErrKeyRevoked):
		return "", fmt.Errorf("%s was signed by %s, which its owner has revoked: do not use these files; %s", name, k.signerName(signer), k.newer())
	case errors.Is(err, pgperrors.ErrSignatureExpired):
		return "", fmt.Errorf("the signature %s of %s has expired (today is %s): fetch the release again", signatureName, name, now.UTC().Format(time.DateOnly))
	case errors.As(err, &invalid):
		return "", fmt.Errorf("the signature %s does not fit %s: one of them was changed or damaged since %s signed it; fetch both again, or take another source", signatureName, name, k)
	}
	return "", fmt.Errorf("check the signature %s of %s: %w", signatureName, name, err)
}

func (k keys) signerName(signer *openpgp.Entity) string {
	if k.named == "" {
		return "HashiCorp's key " + fingerprint(signer)
	}
	return "the key " + fingerprint(signer) + " of " + k.named
}

// issuersOf are the ids of the keys that made the signatures, as the signatures say.
func issuersOf(signature []byte) ([]string, error) {
	var issuers []string
	packets := packet.NewReader(bytes.NewReader(signature))
	for {
		p, err := packets.Next()
		if err != nil {
			if len(issuers) > 0 {
				return issuers, nil
			}
			return nil, err
		}
		made, ok := p.(*packet.Signature)
		if !ok {
			return nil, errors.New("it holds something else")
		}
		if made.IssuerKeyId != nil {
			issuers = append(issuers, fmt.Sprintf("%016X", *made.IssuerKeyId))
		}
	}
}

// expiry is the day when the key that made a signature ended: its own, or its primary key's.
func expiry(signer *openpgp.Entity, made *packet.Signature) string {
	var ends []time.Time
	add := func(key *packet.PublicKey, self *packet.Signature) {
		if self != nil && self.KeyLifetimeSecs != nil && *self.KeyLifetimeSecs != 0 {
			ends = append(ends, key.CreationTime.Add(time.Duration(*self.KeyLifetimeSecs)*time.Second))
		}
	}
	self, _ := signer.PrimarySelfSignature()
	add(signer.PrimaryKey, self)
	for _, sub := range signer.Subkeys {
		if made.IssuerKeyId != nil && sub.PublicKey.KeyId == *made.IssuerKeyId {
			add(sub.PublicKey, sub.Sig)
		}
	}
	if len(ends) == 0 {
		return "a day that it does not tell"
	}
	return slices.MinFunc(ends, time.Time.Compare).UTC().Format(time.DateOnly)
}
