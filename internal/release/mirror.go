// SPDX-License-Identifier: MPL-2.0

package release

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"drover/internal/landing"
)

const connectLimit = 10 * time.Second

// ParseMirror reads the base URL of a mirror: http or https, with no more than a user, a host and a path. The error does not
// repeat a password.
func ParseMirror(text string) (*url.URL, error) {
	base, err := url.Parse(text)
	switch {
	case err != nil: // its text may hold a part of the password
		return nil, errors.New("the mirror is not a URL")
	case base.Scheme != "http" && base.Scheme != "https" || base.Hostname() == "":
		return nil, errors.New("the mirror has to be a URL such as https://HOST/PATH; http:// will do too, since signatures are checked")
	case base.RawQuery != "" || base.Fragment != "":
		return nil, errors.New("the URL of the mirror has a ? or #, and file names are put behind it: leave that out")
	}
	return base, nil
}

// mirror is the directory of one release on a server.
type mirror struct {
	client *http.Client
	base   *url.URL // of the release, without credentials
	user   *url.Userinfo
	cache  Cache
}

func (c Cache) mirror(w Wanted) (*mirror, error) {
	base, err := ParseMirror(w.Mirror)
	if err != nil {
		return nil, err
	}
	m := &mirror{user: base.User, cache: c}
	bare := *base
	bare.User = nil
	m.base = bare.JoinPath("nomad", escape(w.Version))
	dialer := &net.Dialer{Timeout: connectLimit}
	m.client = &http.Client{Transport: &http.Transport{
		Proxy: c.Proxy, DialContext: dialer.DialContext, TLSHandshakeTimeout: connectLimit,
		DisableCompression: true, // a length that counts
		ForceAttemptHTTP2:  true,
	}}
	return m, nil
}

// escape keeps the + of +ent from being taken for a space.
func escape(element string) string { return strings.ReplaceAll(url.PathEscape(element), "+", "%2B") }

func (m *mirror) close() { m.client.CloseIdleConnections() }

func (m *mirror) String() string { return m.base.String() + "/" }

func (m *mirror) link(name string) string { return m.base.JoinPath(escape(name)).String() }

// missing is a file that the server does not have.
type missing struct{ error }

// answer is a response whose body ends when the server is silent for too long.
type answer struct {
	link     string
	size     int64 // -1: the server does not say
	body     io.ReadCloser
	silence  *time.Timer
	idle     time.Duration
	ctx      context.Context
	cancel   context.CancelCauseFunc
	received int64
}

var errSilent = errors.New("silent")

func (m *mirror) open(ctx context.Context, name string) (*answer, error) {
	a := &answer{link: m.link(name), idle: m.cache.limits.idle}
	if a.idle == 0 {
		a.idle = idleLimit
	}
	a.ctx, a.cancel = context.WithCancelCause(ctx)
	a.silence = time.AfterFunc(a.idle, func() { a.cancel(errSilent) })
	request, err := http.NewRequestWithContext(a.ctx, http.MethodGet, a.link, nil)
	if err != nil {
		return nil, err
	}
	if m.user != nil {
		password, _ := m.user.Password()
		request.SetBasicAuth(m.user.Username(), password)
	}
	response, err := m.client.Do(request) //nolint:bodyclose // answer.Close does that
	if err != nil {
		defer a.end()
		return nil, a.failed(err)
	}
	a.body, a.size = response.Body, response.ContentLength
	if response.StatusCode == http.StatusOK {
		return a, nil
	}
	a.Close()
	return nil, refusal(a.link, response)
}

// refusal says what a status other than 200 means.
func refusal(link string, response *http.Response) error {
	if at := response.Request.URL; at.Host != "" && at.Host+at.Path != strings.TrimPrefix(strings.TrimPrefix(link, "https://"), "http://") {
		link += " (redirected to " + at.Scheme + "://" + at.Host + at.EscapedPath() + ")"
	}
	err := fmt.Errorf("fetch %s: the server answers %q", link, response.Status)
	switch response.StatusCode {
	case http.StatusNotFound, http.StatusGone:
		return missing{err}
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("%w: it wants a name and a password, or does not let this machine in; they go into the URL of the mirror (https://NAME:PASSWORD@HOST/)", err)
	}
	return err
}

func (a *answer) end() {
	a.silence.Stop()
	a.cancel(nil)
}

func (a *answer) Close() {
	_ = a.body.Close()
	a.end()
}

func (a *answer) Read(p []byte) (int, error) {
	n, err := a.body.Read(p)
	a.received += int64(n)
	if n > 0 {
		a.silence.Reset(a.idle)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = a.failed(err)
	}
	return n, err
}

// failed says what went wrong, without what a redirect may have put into a URL.
func (a *answer) failed(err error) error {
	var inner *url.Error
	if errors.As(err, &inner) {
		err = inner.Err
	}
	switch {
	case errors.Is(context.Cause(a.ctx), errSilent):
		return fmt.Errorf("fetch %s: not a byte came for %s, after %s; nothing of it was kept: see whether the server is well, and run this again", a.link, a.idle, a.progress())
	case a.ctx.Err() != nil:
		return fmt.Errorf("fetch %s: %w", a.link, context.Cause(a.ctx))
	case errors.Is(err, io.ErrUnexpectedEOF) && a.body != nil:
		return fmt.Errorf("fetch %s: cut off after %s; nothing of it was kept: run this again", a.link, a.progress())
	case a.body != nil:
		return fmt.Errorf("fetch %s: broken off after %s (%w); nothing of it was kept: run this again", a.link, a.progress(), err)
	}
	return fmt.Errorf("fetch %s: %w: see whether the address is right and whether this machine may go there (HTTPS_PROXY names a proxy); without a way there, name a release on disk with --binary-dir DIR or --binary FILE, or a mirror with --mirror URL", a.link, err)
}

func (a *answer) progress() string {
	if a.size >= 0 {
		return fmt.Sprintf("%d of %d bytes", a.received, a.size)
	}
	return fmt.Sprintf("%d bytes", a.received)
}

// get fetches a small file.
func (m *mirror) get(ctx context.Context, name string, limit int64) ([]byte, error) {
	a, err := m.open(ctx, name)
	if err != nil {
		var none missing
		if errors.As(err, &none) {
			return nil, missing{fmt.Errorf("%w: see whether there is such a version, and whether the mirror has the layout BASE/nomad/VERSION/nomad_VERSION_SHA256SUMS", err)}
		}
		return nil, err
	}
	defer a.Close()
	text, err := io.ReadAll(io.LimitReader(a, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(text)) > limit {
		return nil, tooLarge(a.link, limit)
	}
	return text, nil
}

func tooLarge(link string, limit int64) error {
	return fmt.Errorf("fetch %s: it is larger than %d bytes, which no release is; nothing of it was kept: see what that server has there", link, limit)
}

// signed checks SHA256SUMS against SHA256SUMS.sig, and where another key made that, against SHA256SUMS.KEYID.sig: HashiCorp changed
// its key once and signed what was there before again under that name.
func (m *mirror) signed(ctx context.Context, sumsName string, sums []byte, keys keys, now time.Time) (string, error) {
	suffixes := []string{".sig"}
	for _, id := range keys.shortIDs() {
		suffixes = append(suffixes, "."+id+".sig")
	}
	var first error
	for _, suffix := range suffixes {
		signature, err := m.get(ctx, sumsName+suffix, maximumSignature)
		var none missing
		if errors.As(err, &none) {
			continue
		}
		if err != nil {
			return "", err
		}
		key, err := keys.verify(m.link(sumsName), sums, sumsName+suffix, signature, now)
		if err == nil {
			return key, nil
		}
		if !isForeign(err) {
			return "", err
		}
		if first == nil {
			first = err
		}
	}
	if first == nil {
		first = fmt.Errorf("%s has no %s.sig, so nobody vouches for the release: take another mirror, or have %s sign it", m, sumsName, keys)
	}
	return "", first
}

// download fetches the zip and returns where it is. It has the hash, or is not there.
func (c Cache) download(ctx context.Context, m *mirror, w Wanted, sum string) (string, error) {
	if err := c.sweep(); err != nil {
		return "", err
	}
	a, err := m.open(ctx, w.zipName())
	if err != nil {
		return "", err
	}
	defer a.Close()
	limit := c.limits.zip
	if limit == 0 {
		limit = maximumZip
	}
	if a.size > limit {
		return "", tooLarge(a.link, limit)
	}
	path := filepath.Join(c.Directory, sum+".zip")
	hash := sha256.New()
	_, err = landing.File(path, func(file *os.File) error {
		counted := &progress{answer: a, cache: c, last: time.Now()}
		size, err := io.Copy(io.MultiWriter(file, hash), io.LimitReader(counted, limit+1))
		switch {
		case err != nil:
			return err
		case size > limit:
			return tooLarge(a.link, limit)
		}
		if found := hex.EncodeToString(hash.Sum(nil)); found != sum {
			return fmt.Errorf("%s has SHA-256 %s, and the signed %s says %s: it was changed or damaged; nothing of it was kept: run this again, and take another source if it stays so",
				a.link, found, w.sumsName(), sum)
		}
		return nil
	})
	return path, err
}

// sweep takes away what a run left that was killed while it fetched; the cache is locked, so nobody writes to it.
func (c Cache) sweep() error {
	entries, err := os.ReadDir(c.Directory)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if name := entry.Name(); strings.HasPrefix(name, ".new-") || strings.HasPrefix(name, ".version-") {
			if err := os.RemoveAll(filepath.Join(c.Directory, name)); err != nil {
				return fmt.Errorf("take away what an earlier run left: %w", err)
			}
		}
	}
	return nil
}

// progress tells once in a second how far a download is.
type progress struct {
	*answer
	cache Cache
	last  time.Time
}

func (p *progress) Read(b []byte) (int, error) {
	n, err := p.answer.Read(b)
	if now := time.Now(); now.Sub(p.last) >= sayAfter {
		p.last = now
		const mega = 1e6
		if p.size > 0 {
			p.cache.say("fetching %s: %.0f of %.0f MB", p.link, float64(p.received)/mega, float64(p.size)/mega)
		} else {
			p.cache.say("fetching %s: %.0f MB", p.link, float64(p.received)/mega)
		}
	}
	return n, err
}
