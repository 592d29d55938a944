// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

// authority issues certificates for one test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t}
	der, key := a.issue(&x509.Certificate{Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	a.key = key
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a.cert, a.pem = cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return a
}

func (a *authority) issue(template *x509.Certificate) ([]byte, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := template, key
	if a.cert != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	return der, key
}

// pair issues a certificate for a name and returns it and its key as PEM.
func (a *authority) pair(name string) (cert, key []byte) {
	der, private := a.issue(&x509.Certificate{DNSNames: []string{name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}})
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		a.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})
}

func TestMutualTLS(t *testing.T) {
	ca, stranger := newAuthority(t), newAuthority(t)
	cert, key := ca.pair("server.eu.nomad")
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, selfServer) }))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	defer server.Close()
	endpoint, err := Find(t.Context(), direct, []string{server.Listener.Addr().String()})
	if err != nil || !endpoint.TLS {
		t.Fatalf("found %+v, %v", endpoint, err)
	}

	files := map[string][]byte{"ca": ca.pem, "stranger": stranger.pem}
	files["cert"], files["key"] = ca.pair("cli.eu.nomad")
	tests := map[string]struct {
		variables map[string]string
		name      string
		want      string
	}{
		"right":              {map[string]string{"nomad_cacert": "ca", "nomad_client_cert": "cert", "nomad_client_key": "key"}, TLSName(true, "eu"), ""},
		"name from variable": {map[string]string{"nomad_cacert": "ca", "nomad_client_cert": "cert", "nomad_client_key": "key", "nomad_tls_server_name": "server.eu.nomad"}, "other", ""},
		"other region":       {map[string]string{"nomad_cacert": "ca", "nomad_client_cert": "cert", "nomad_client_key": "key"}, TLSName(true, "us"), "server.eu.nomad"},
		"role of a client":   {map[string]string{"nomad_cacert": "ca", "nomad_client_cert": "cert", "nomad_client_key": "key"}, TLSName(false, "eu"), "client.eu.nomad"},
		"strange authority":  {map[string]string{"nomad_cacert": "stranger", "nomad_client_cert": "cert", "nomad_client_key": "key"}, TLSName(true, "eu"), "unknown authority"},
		"no certificate":     {map[string]string{"nomad_cacert": "ca"}, TLSName(true, "eu"), "certificate required"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			credentials, err := ReadCredentials(Sources{
				Variable: func(name string) string { return test.variables[name] }, Environment: func(string) string { return "" },
				ReadFile: func(path string) ([]byte, error) {
					if text, ok := files[path]; ok {
						return text, nil
					}
					return nil, os.ErrNotExist
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			client, err := Connect(direct, endpoint, test.name, credentials)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			_, err = Self(t.Context(), client, "s1")
			if (err == nil) != (test.want == "") || (err != nil && !strings.Contains(err.Error(), test.want)) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}
