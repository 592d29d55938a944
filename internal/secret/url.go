// SPDX-License-Identifier: MPL-2.0

package secret

import (
	"net/url"
	"regexp"
)

// urlPassword is a URL up to its host, with a name and a password.
var urlPassword = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^/?#\s:@]*:([^/?#\s@{}]+)@`)

// InURLs are the passwords of the URLs in a text, such as https://NAME:PASSWORD@HOST/: as they are written, and as they are meant where
// that differs.
func InURLs(text string) []string {
	var passwords []string
	for _, match := range urlPassword.FindAllStringSubmatch(text, -1) {
		passwords = append(passwords, match[1])
		if plain, err := url.PathUnescape(match[1]); err == nil && plain != match[1] {
			passwords = append(passwords, plain)
		}
	}
	return passwords
}
