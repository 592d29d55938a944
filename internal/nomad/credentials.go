// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"drover/internal/secret"
)

// Credentials say how to speak to the agents of a cluster.
type Credentials struct {
	Token      secret.Text
	Region     string // of the user's choice; "" when not told
	ServerName string // overrides server.REGION.nomad and client.REGION.nomad
	Insecure   bool   // certificates are not verified (NOMAD_SKIP_VERIFY)
	Roots      *x509.CertPool
	ClientCert *tls.Certificate
}

// Sources are where credentials come from. An inventory variable wins over the environment.
type Sources struct {
	Variable    func(name string) string // nomad_token, nomad_cacert, ...; "" when unset
	Environment func(name string) string // NOMAD_TOKEN, NOMAD_CACERT, ...
	ReadFile    func(path string) ([]byte, error)
}

// ReadCredentials collects credentials. Errors name the variable, never its value when that is secret.
func ReadCredentials(sources Sources) (Credentials, error) {
	var c Credentials
	get := func(variable, environment string) string {
		if text := sources.Variable(variable); text != "" {
			return text
		}
		return sources.Environment(environment)
	}
	token, err := readToken(sources)
	if err != nil {
		return c, err
	}
	c.Token = secret.New(token)
	c.Region = get("nomad_region", "NOMAD_REGION")
	c.ServerName = get("nomad_tls_server_name", "NOMAD_TLS_SERVER_NAME")
	switch skip := strings.ToLower(get("nomad_skip_verify", "NOMAD_SKIP_VERIFY")); skip {
	case "1", "t", "true", "yes":
		c.Insecure = true
	}
	if path := get("nomad_cacert", "NOMAD_CACERT"); path != "" {
		text, err := sources.ReadFile(path)
		if err != nil {
			return c, fmt.Errorf("read nomad_cacert: %w", err)
		}
		c.Roots = x509.NewCertPool()
		if !c.Roots.AppendCertsFromPEM(text) {
			return c, fmt.Errorf("nomad_cacert: %s holds no PEM certificate", path)
		}
	}
	c.ClientCert, err = readKeyPair(sources, get("nomad_client_cert", "NOMAD_CLIENT_CERT"), get("nomad_client_key", "NOMAD_CLIENT_KEY"))
	return c, err
}

func readToken(sources Sources) (string, error) {
	if token := sources.Variable("nomad_token"); token != "" {
		return token, nil
	}
	if path := sources.Variable("nomad_token_file"); path != "" {
		text, err := sources.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("read nomad_token_file: %w", err)
		}
		return strings.TrimSpace(string(text)), nil
	}
	return sources.Environment("NOMAD_TOKEN"), nil
}

func readKeyPair(sources Sources, certPath, keyPath string) (*tls.Certificate, error) {
	if certPath == "" && keyPath == "" {
		return nil, nil
	}
	if certPath == "" || keyPath == "" {
		return nil, errors.New("nomad_client_cert and nomad_client_key must be given together")
	}
	cert, err := sources.ReadFile(certPath)
	if err != nil {
		return nil, fmt.Errorf("read nomad_client_cert: %w", err)
	}
	key, err := sources.ReadFile(keyPath)
	if err != nil {
		return nil, fmt.Errorf("read nomad_client_key: %w", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("nomad_client_cert %s and nomad_client_key %s: %w", certPath, keyPath, err)
	}
	return &pair, nil
}
