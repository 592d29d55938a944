// SPDX-License-Identifier: MPL-2.0

package secret

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
)

// shortest is the length in bytes below which a secret is not looked for in other texts: it would make them unreadable.
const shortest = 4

// Redactor replaces secrets wherever they occur in other texts. Its zero value knows none; it may be used by many at once.
type Redactor struct {
	mu      sync.Mutex
	secrets map[string]bool
	hide    *strings.Replacer // nil: a secret was added since it was made
}

// Keep has a text replaced from now on. Texts of less than four bytes are left to no_log.
func (r *Redactor) Keep(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(text) < shortest || r.secrets[text] {
		return
	}
	if r.secrets == nil {
		r.secrets = map[string]bool{}
	}
	r.secrets[text], r.hide = true, nil
}

// Clean replaces the secrets in a text.
func (r *Redactor) Clean(text string) string { return r.replacer().Replace(text) }

func (r *Redactor) replacer() *strings.Replacer {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hide != nil {
		return r.hide
	}
	// The longest first, so that a secret that contains another is replaced whole.
	secrets := slices.SortedFunc(maps.Keys(r.secrets), func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	pairs := make([]string, 0, 2*len(secrets))
	for _, s := range secrets {
		pairs = append(pairs, s, Hidden)
	}
	r.hide = strings.NewReplacer(pairs...)
	return r.hide
}

// Named tells whether a variable, by its name, holds a secret: ansible_become_password, nomad_token, db_secret. A name
// that ends like one of a place or a figure (token_file, password_length) does not.
func Named(variable string) bool {
	name := strings.ToLower(variable)
	for _, end := range []string{"_file", "_path", "_dir", "_directory", "_name", "_url", "_addr", "_address", "_ttl", "_length", "_policies", "_policy", "_enabled"} {
		if strings.HasSuffix(name, end) {
			return false
		}
	}
	for _, word := range []string{
		"password", "passwd", "passphrase", "secret", "token", "credential", "api_key", "apikey", "private_key", "access_key",
		"encryption_key", "gossip_key",
	} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return name == "pass" || name == "encrypt" || strings.HasSuffix(name, "_pass") || strings.HasSuffix(name, "_encrypt")
}

// Holds tells whether a value under such a name can be a secret: a text or a number, and not an empty one.
func Holds(value any) bool {
	switch v := value.(type) {
	case nil, bool:
		return false
	case string:
		return v != ""
	}
	return true
}
