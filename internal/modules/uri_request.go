// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"drover/internal/expression"
	"drover/internal/wire"
)

// maxPEM bounds a certificate or key file, in bytes.
const maxPEM = 4 << 20

func uriRequest(ctx context.Context, args Args, method string) (*http.Request, error) {
	address, err := url.Parse(args.String("url"))
	if err != nil {
		return nil, errors.New("url is not a valid URL")
	}
	if address.Scheme != "http" && address.Scheme != "https" || address.Host == "" {
		return nil, fmt.Errorf("url %s must begin with http:// or https:// and name a host", address.Redacted())
	}
	body, contentType, err := uriBody(args)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, method, address.String(), body)
	if err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	for name, value := range args.Dict("headers").All() {
		text, err := toText(value)
		if err != nil {
			return nil, fmt.Errorf("header %s is %w", name, err)
		}
		if strings.EqualFold(name, "Host") {
			request.Host = text.(string)
			continue
		}
		request.Header.Set(name, text.(string))
	}
	if args.Has("url_username") {
		request.SetBasicAuth(args.String("url_username"), args.String("url_password"))
	}
	return request, nil
}

func uriBody(args Args) (io.Reader, string, error) {
	if !args.Has("body") {
		return nil, "", nil
	}
	value := args.Any("body")
	switch args.String("body_format") {
	case "json":
		// A text is taken for JSON that is written already, as Ansible takes it.
		if text, ok := value.(string); ok {
			return strings.NewReader(text), "application/json", nil
		}
		text, err := json.Marshal(value)
		if err != nil {
			return nil, "", fmt.Errorf("body: %w", err)
		}
		return bytes.NewReader(text), "application/json", nil
	case "form-urlencoded":
		return formBody(value)
	}
	text, err := toText(value)
	if err != nil {
		return nil, "", errors.New("body must be text; for a list or dictionary give body_format json")
	}
	return strings.NewReader(text.(string)), "", nil
}

func formBody(value any) (io.Reader, string, error) {
	const contentType = "application/x-www-form-urlencoded"
	if text, ok := value.(string); ok {
		return strings.NewReader(text), contentType, nil
	}
	fields, ok := value.(expression.Mapping)
	if !ok {
		return nil, "", errors.New("body must be a dictionary for body_format form-urlencoded")
	}
	form := url.Values{}
	for _, name := range fields.Keys() {
		item, _ := fields.Get(name)
		items, isList := item.([]any)
		if !isList {
			items = []any{item}
		}
		for _, one := range items {
			text, err := toText(one)
			if err != nil {
				return nil, "", fmt.Errorf("body field %s is %w", name, err)
			}
			form.Add(name, text.(string))
		}
	}
	return strings.NewReader(form.Encode()), contentType, nil
}

// uriClient is an HTTP client whose connections leave from the host. It uses no proxy: the environment of this machine says
// nothing about the host's network.
func uriClient(ctx context.Context, call *Call) (*http.Client, error) {
	settings, err := uriTLS(ctx, call)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		TLSClientConfig: settings,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if socket := call.Args.String("unix_socket"); socket != "" {
				return call.Host.Dial(ctx, "unix", socket)
			}
			return call.Host.Dial(ctx, network, address)
		},
	}
	follow := call.Args.String("follow_redirects")
	return &http.Client{Transport: transport, CheckRedirect: func(next *http.Request, via []*http.Request) error {
		first := via[0].Method
		if follow == "none" || follow == "safe" && first != http.MethodGet && first != http.MethodHead {
			return http.ErrUseLastResponse
		}
		if len(via) >= 10 {
			return errors.New("more than 10 redirects")
		}
		return nil
	}}, nil
}

func uriTLS(ctx context.Context, call *Call) (*tls.Config, error) {
	settings := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: !call.Args.Bool("validate_certs")}
	if file := call.Args.String("ca_path"); file != "" {
		text, err := readPEM(ctx, call.Host, file)
		if err != nil {
			return nil, fmt.Errorf("ca_path: %w", err)
		}
		settings.RootCAs = x509.NewCertPool()
		if !settings.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("ca_path %s holds no certificate", file)
		}
	}
	file := call.Args.String("client_cert")
	if file == "" {
		return settings, nil
	}
	certificate, err := readPEM(ctx, call.Host, file)
	if err != nil {
		return nil, fmt.Errorf("client_cert: %w", err)
	}
	key := certificate
	if keyFile := call.Args.String("client_key"); keyFile != "" {
		if key, err = readPEM(ctx, call.Host, keyFile); err != nil {
			return nil, fmt.Errorf("client_key: %w", err)
		}
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("client_cert %s: %w", file, err)
	}
	settings.Certificates = []tls.Certificate{pair}
	return settings, nil
}

func readPEM(ctx context.Context, host Host, file string) ([]byte, error) {
	var content bytes.Buffer
	var reply wire.ReadResult
	err := host.Receive(ctx, wire.Read{Path: file, Max: maxPEM}, &reply, &content)
	return content.Bytes(), err
}
