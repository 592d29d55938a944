// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"regexp"
	"strings"

	"drover/internal/printable"
)

const redacted = "[redacted]"

// redactor hides what looks like a credential in text that other programs wrote.
type redactor struct {
	pairs  *regexp.Regexp
	tokens *regexp.Regexp
	flags  *regexp.Regexp // a flag whose value is the next argument
}

func newRedactor() redactor {
	return redactor{
		// key = value in log lines, HCL, JSON, flags and headers.
		pairs: regexp.MustCompile(`(?i)([\w.-]*(?:token|secret|passwd|password|secret_?id|license|encrypt|private_?key|access_?key|credential)[\w.-]*"?'?\s*(?::=|=>|[:=])\s*|bearer\s+)("[^"]*"|'[^']*'|[^\s,;}\])"']+)`),
		// Vault tokens, and UUIDs, the form of Nomad's and Consul's secret ids, after a word that says so.
		tokens: regexp.MustCompile(`(?i)\b(?:hv[sbr]\.[\w-]{8,}|s\.[A-Za-z0-9]{24}\b)|(?:secret|token)\W{1,4}(?:id\W{1,4})?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}`),
		flags:  regexp.MustCompile(`(?i)^--?[\w-]*(?:token|secret|passw|encrypt|private-?key|access-?key|credential)[\w-]*$`),
	}
}

func (r redactor) clean(text string) string {
	text = r.pairs.ReplaceAllString(text, "${1}"+redacted)
	return r.tokens.ReplaceAllString(text, redacted)
}

// arguments hides the values of a command line's flags that look like credentials (-encrypt, -vault-token).
func (r redactor) arguments(argv []string) []string {
	var shown []string
	hide := false
	for _, argument := range argv {
		if hide && !strings.HasPrefix(argument, "-") {
			argument = redacted
		}
		hide = r.flags.MatchString(argument)
		shown = append(shown, r.clean(argument))
	}
	return shown
}

// lines splits, strips control characters and redacts, and keeps at most the last n non-empty lines.
func (r redactor) lines(text string, n int) []string {
	var lines []string
	for line := range strings.Lines(printable.Text(text)) {
		if line = strings.TrimRight(line, "\n "); line != "" {
			lines = append(lines, r.clean(line))
		}
	}
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return lines
}
