// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// maxAnswer bounds what is read of one answer.
const maxAnswer = 16 << 20

// APIClient makes an HTTP client for the Nomad API of one host, asked at "http(s)://HOST:4646". It sees that host alone,
// from the lab's switch. Close its idle connections when done.
func (l *Lab) APIClient(name string) (client *http.Client, base string, err error) {
	host, err := l.Host(name)
	if err != nil {
		return nil, "", err
	}
	transport := &http.Transport{DialContext: l.Dial, MaxIdleConnsPerHost: 2, IdleConnTimeout: 5 * time.Second}
	base = "http://" + name + ":4646"
	if l.state.Options.MTLS {
		base = "https://" + name + ":4646"
		if transport.TLSClientConfig, err = l.tlsConfig(host); err != nil {
			return nil, "", err
		}
	}
	return &http.Client{Transport: transport}, base, nil
}

func (l *Lab) tlsConfig(host Host) (*tls.Config, error) {
	ca, err := os.ReadFile(l.path(caFile))
	if err != nil {
		return nil, fmt.Errorf("read the lab's CA: %w", err)
	}
	pair, err := tls.LoadX509KeyPair(l.path(clientCertFile), l.path(clientKeyFile))
	if err != nil {
		return nil, fmt.Errorf("read the lab's certificate: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	return &tls.Config{
		RootCAs: pool, Certificates: []tls.Certificate{pair},
		ServerName: string(certificateRole(host)) + "." + region + ".nomad", MinVersion: tls.VersionTLS12,
	}, nil
}

// statusError is an answer of Nomad's API that is not 200.
type statusError struct {
	code int
	body string
}

func (e *statusError) Error() string { return fmt.Sprintf("HTTP %d: %s", e.code, e.body) }

// Call asks the API of one host, with the lab's token when it has one, and decodes the answer into out unless that is nil.
func (l *Lab) Call(ctx context.Context, host, method, path string, in, out any) error {
	client, base, err := l.APIClient(host)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encode the request for %s: %w", path, err)
		}
		body = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, base+path, body)
	if err != nil {
		return fmt.Errorf("ask %s: %w", host, err)
	}
	token, err := l.Token()
	if err != nil {
		return err
	}
	if token != "" {
		request.Header.Set("X-Nomad-Token", token)
	}
	return receive(client, request, out)
}

func receive(client *http.Client, request *http.Request, out any) error {
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the answer to %s: %w", request.URL.Path, err)
	}
	// Autopilot says 429 with the same body when the cluster is unhealthy.
	if answer.StatusCode != http.StatusOK && answer.StatusCode != http.StatusTooManyRequests {
		return fmt.Errorf("%s: %w", request.URL.Path, &statusError{answer.StatusCode, strings.TrimSpace(string(text))})
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("decode the answer to %s: %w", request.URL.Path, err)
	}
	return nil
}

// Token is the management token of a lab with ACL, and empty in one without.
func (l *Lab) Token() (string, error) {
	text, err := os.ReadFile(l.path(tokenFile))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the lab's token: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}
