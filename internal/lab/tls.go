// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"
)

// region is the Nomad region of every lab; it is part of the names in its certificates.
const region = "global"

// certificate is a certificate and its key in PEM.
type certificate struct {
	cert, key string
}

// authority signs the certificates of one lab.
type authority struct {
	certificate
	parsed *x509.Certificate
	signer *ecdsa.PrivateKey
}

// Certificates live as long as a lab may reasonably stand; the early start allows for clocks that differ.
const (
	certificateAge   = 30 * 24 * time.Hour
	certificateEarly = time.Hour
)

// certificateRole is the role in the name of a host's certificate: servers ask other servers for theirs.
func certificateRole(host Host) Role {
	if host.IsServer() {
		return Server
	}
	return host.Role
}

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the lab's CA: %w", err)
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "drover lab CA"},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
	}
	made, err := sign(template, template, key, key)
	if err != nil {
		return nil, fmt.Errorf("make the lab's CA: %w", err)
	}
	block, _ := pem.Decode([]byte(made.cert))
	parsed, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("make the lab's CA: %w", err)
	}
	return &authority{certificate: made, parsed: parsed, signer: key}, nil
}

// issue makes a certificate for "ROLE.REGION.nomad", the name that Nomad's verify_server_hostname wants, and for the host itself.
func (a *authority) issue(role string) (certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return certificate{}, fmt.Errorf("make a %s certificate: %w", role, err)
	}
	name := role + "." + region + ".nomad"
	made, err := sign(&x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		DNSNames:    []string{name, "localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.parsed, key, a.signer)
	if err != nil {
		return certificate{}, fmt.Errorf("make a %s certificate: %w", role, err)
	}
	return made, nil
}

func sign(template, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) (certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return certificate{}, err
	}
	template.SerialNumber = serial
	template.NotBefore = time.Now().Add(-certificateEarly)
	template.NotAfter = time.Now().Add(certificateAge)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return certificate{}, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return certificate{}, err
	}
	return certificate{
		cert: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		key:  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})),
	}, nil
}
