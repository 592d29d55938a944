// SPDX-License-Identifier: MPL-2.0

package agentconfig

import (
	"bytes"
	"regexp"
	"strings"

	"drover/internal/secret"
)

// Secret tells whether a key, by its name, holds a secret: vault.token, server.encrypt, consul.auth.
func (p Path) Secret() bool {
	return len(p) > 0 && (secret.Named(strings.ReplaceAll(p[len(p)-1], "-", "_")) || p.among("consul.auth"))
}

// looksSecret finds settings that are named like secrets where nothing is parsed: in comments and in the parts of a text.
var looksSecret = regexp.MustCompile(`(?i)([A-Za-z_]*(?:token|secret|passw(?:or)?d|encrypt|access_key|api_key|credential)[A-Za-z_]*"?\s*[=:]\s*)("[^"\n]+"|[^\s"]+)`)

// Hide is the file with its secrets hidden, for a person to read: values of keys that are named like secrets, passwords in URLs, and what
// comments hold of the kind. What cannot be parsed is hidden whole.
func Hide(text []byte) string {
	f, err := Parse(text)
	if err != nil {
		return secret.Hidden
	}
	var b bytes.Buffer
	at := 0
	var walk func(in *block, prefix Path)
	walk = func(in *block, prefix Path) {
		for _, it := range in.items {
			path := append(prefix[:len(prefix):len(prefix)], it.keys...)
			inner := it.value.inner()
			if len(inner) == 0 && path.Secret() && !it.value.Zero() {
				b.WriteString(HideIn(string(f.text[at:it.value.start])))
				b.WriteString(`"` + secret.Hidden + `"`)
				at = it.value.end
			}
			for _, in := range inner {
				walk(in, path)
			}
		}
	}
	walk(f.root, nil)
	b.WriteString(HideIn(string(f.text[at:])))
	return b.String()
}

// HideIn hides what is named like a secret in a text that is no configuration file, such as what Nomad says of one.
func HideIn(text string) string {
	shown := looksSecret.ReplaceAllStringFunc(text, func(setting string) string {
		part := looksSecret.FindStringSubmatch(setting)
		if !secret.Named(strings.TrimRight(part[1], "\" \t\r\n=:")) {
			return setting
		}
		return part[1] + secret.Hidden
	})
	for _, password := range secret.InURLs(shown) {
		shown = strings.ReplaceAll(shown, ":"+password+"@", ":"+secret.Hidden+"@")
	}
	return shown
}
