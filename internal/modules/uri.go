// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"drover/internal/expression"
)

func uriModule() Module {
	return Module{
		Name:  "uri",
		Short: "Make an HTTP request from the host",
		Doc: "Makes one HTTP request. It leaves from the host, so 127.0.0.1 is the host itself, and certificates and keys are files on the host. " +
			"A status that is not expected is a failure. Under --check only GET, HEAD and OPTIONS are sent.",
		Args: []Arg{
			{Name: "url", Kind: String, Required: true, Doc: "http:// or https://, without credentials in it."},
			{Name: "method", Kind: String, Default: "GET", Doc: "GET, POST, PUT, DELETE or another."},
			{Name: "body", Kind: Any, Doc: "Text, or with a body_format a list or dictionary."},
			{Name: "body_format", Kind: String, Default: "raw", Choices: []string{"form-urlencoded", "json", "raw"}, Doc: "How the body is written."},
			{Name: "headers", Kind: Dict, Secret: true, Doc: "Further headers."},
			{Name: "status_code", Kind: List, Default: []any{int64(200)}, Doc: "The status, or a list of those, that is no failure."},
			{Name: "return_content", Kind: Boolean, Default: false, Doc: "Return the body as text too; on an unexpected status it always is."},
			{Name: "timeout", Kind: Duration, Default: 30, Doc: "For the whole request."},
			{Name: "follow_redirects", Kind: String, Default: "safe", Choices: []string{"all", "none", "safe"}, Doc: "safe follows GET and HEAD only."},
			{Name: "validate_certs", Kind: Boolean, Default: true, Doc: "Check the server's certificate."},
			{Name: "ca_path", Kind: Path, Doc: "PEM file of authorities, on the host."},
			{Name: "client_cert", Kind: Path, Doc: "PEM certificate, on the host."},
			{Name: "client_key", Kind: Path, Doc: "Its key; without it, in the same file."},
			{Name: "url_username", Kind: String, Aliases: []string{"user"}, Doc: "For basic authentication."},
			{Name: "url_password", Kind: String, Secret: true, Aliases: []string{"password"}, Doc: "For basic authentication."},
			{Name: "force_basic_auth", Kind: Boolean, Default: true, Doc: "Accepted for Ansible's sake: it is always sent at once."},
			{Name: "unix_socket", Kind: Path, Doc: "Connect to this socket on the host instead of the URL's address."},
		},
		Check: CheckFull,
		Returns: []Arg{
			{Name: "status", Kind: Integer, Doc: "The HTTP status; -1 when there was no answer."},
			{Name: "url", Kind: String, Doc: "Where the answer came from."},
			{Name: "redirected", Kind: Boolean, Doc: "Whether that is another place than asked."},
			{Name: "content", Kind: String, Doc: "The body, at most 8 MiB."},
			{Name: "json", Kind: Any, Doc: "The body's value, when it is JSON."},
			{Name: "elapsed", Kind: Integer, Doc: "Whole seconds that it took."},
		},
		Example: `- uri:
    url: http://127.0.0.1:4646/v1/status/leader
    return_content: true
  register: leader`,
		Run: uri,
	}
}

// maxBody bounds an answer, in bytes.
const maxBody = 8 << 20

func uri(ctx context.Context, call *Call) (*Result, error) {
	args := call.Args
	method := strings.ToUpper(args.String("method"))
	if call.Check && !slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodOptions}, method) {
		return &Result{Skipped: true, Message: method + " would be sent, were this not a check"}, nil
	}
	expected, err := statusCodes(args.List("status_code"))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, args.Duration("timeout"))
	defer cancel()
	request, err := uriRequest(ctx, args, method)
	if err != nil {
		return nil, err
	}
	client, err := uriClient(ctx, call)
	if err != nil {
		return nil, err
	}
	defer client.CloseIdleConnections()
	start := time.Now()
	answer, err := client.Do(request)
	if err != nil {
		return noAnswer(ctx, args, err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxBody+1))
	if err != nil {
		return noAnswer(ctx, args, err)
	}
	if len(body) > maxBody {
		return nil, fmt.Errorf("the answer of %s is larger than %d MiB", request.URL.Redacted(), maxBody>>20)
	}
	result := uriResult(answer, body, slices.Contains(expected, int64(answer.StatusCode)), args.Bool("return_content"))
	result.Data.Set("redirected", answer.Request.URL.String() != request.URL.String())
	result.Data.Set("elapsed", int64(time.Since(start)/time.Second))
	if result.Failed {
		result.Message = fmt.Sprintf("status code was %d and not %v", answer.StatusCode, expected)
	}
	return result, nil
}

func statusCodes(items []any) ([]int64, error) {
	var codes []int64
	for _, item := range items {
		code, err := toInteger(item)
		if err != nil {
			return nil, fmt.Errorf("status_code: %s is not a status", show(item))
		}
		codes = append(codes, code.(int64))
	}
	return codes, nil
}

// noAnswer makes a result of a request that failed; only a lost connection to the host itself stays an error.
func noAnswer(ctx context.Context, args Args, err error) (*Result, error) {
	var lost *Unreachable
	if errors.As(err, &lost) {
		return nil, err
	}
	message := "request failed: " + err.Error()
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		message = fmt.Sprintf("no answer within %s: %s", args.Duration("timeout"), err)
	}
	return &Result{Failed: true, Message: message, Data: expression.MapOf("status", int64(-1), "url", withoutPassword(args.String("url")))}, nil
}

func withoutPassword(address string) string {
	parsed, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return parsed.Redacted()
}

func uriResult(answer *http.Response, body []byte, expected, content bool) *Result {
	data := expression.MapOf("status", int64(answer.StatusCode), "url", answer.Request.URL.Redacted())
	for _, name := range sortedHeaders(answer.Header) {
		key := strings.ReplaceAll(strings.ToLower(name), "-", "_")
		if _, taken := data.Get(key); !taken {
			data.Set(key, strings.Join(answer.Header[name], ", "))
		}
	}
	if content || !expected {
		data.Set("content", string(body))
	}
	kind, _, _ := strings.Cut(answer.Header.Get("Content-Type"), ";")
	if kind = strings.TrimSpace(kind); kind == "application/json" || strings.HasSuffix(kind, "+json") {
		if value, err := expression.DecodeJSON(body); err == nil {
			data.Set("json", value)
		}
	}
	return &Result{Failed: !expected, Message: fmt.Sprintf("OK (%s bytes)", strconv.Itoa(len(body))), Data: data}
}

func sortedHeaders(header http.Header) []string {
	var names []string
	for name := range header {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
