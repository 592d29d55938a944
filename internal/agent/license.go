// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"drover/internal/printable"
	"drover/internal/wire"
)

// Where an Enterprise server takes its licence from, the strongest first (Nomad's documentation of license_path).
const (
	licenseText = "NOMAD_LICENSE"
	licensePath = "NOMAD_LICENSE_PATH"
)

// inspectLicense lets the staged binary inspect the licence as the server would read it. Whether it may be used is judged elsewhere, by
// the lines: a binary that knows no licences exits with 0 too.
func inspectLicense(ctx context.Context, s service, as *account, binary string, request wire.License) (*wire.LicenseResult, error) {
	env, err := serviceEnvironment(s)
	if err != nil {
		return nil, err
	}
	argv := []string{binary, "license", "inspect"}
	result := &wire.LicenseResult{Lines: []string{}}
	switch {
	case request.Path != "":
		result.Source = "license_path " + request.Path
		argv = append(argv, request.Path)
	case env[licenseText] != "":
		result.Source = "the variable " + licenseText
	case env[licensePath] != "":
		result.Source = "the variable " + licensePath
	default:
		return result, nil
	}
	ctx, cancel := context.WithTimeout(ctx, validateTimeout)
	defer cancel()
	got, err := command{argv: argv, env: env, dir: workingDir(s), as: as, limit: 64 << 10}.execute(ctx)
	if err != nil {
		return nil, fmt.Errorf("inspect the licence with the new binary: %w", err)
	}
	result.RC, result.Lines = got.rc, licenseLines(got.stdout+"\n"+got.stderr, env[licenseText])
	return result, nil
}

var (
	licenseID = regexp.MustCompile(`(?i)^\s*(license|customer|installation) id\b`)
	word      = regexp.MustCompile(`\S+`)
)

const (
	maxLicenseLines = 80
	// longestWord is how long a word may be that is no path; a licence is one of about a thousand.
	longestWord = 64
)

// licenseLines are the lines of an inspection without the ids, and without anything that may be the licence itself. The redactor of
// other texts would take words after "license:" for a secret.
func licenseLines(text, secret string) []string {
	if secret != "" {
		text = strings.ReplaceAll(text, secret, redacted)
	}
	kept := []string{}
	for line := range strings.Lines(printable.Text(text)) {
		line = strings.TrimRight(line, "\n ")
		if line == "" || licenseID.MatchString(line) || len(kept) == maxLicenseLines {
			continue
		}
		kept = append(kept, word.ReplaceAllStringFunc(line, func(w string) string {
			if len(w) > longestWord && !strings.HasPrefix(w, "/") {
				return redacted
			}
			return w
		}))
	}
	return kept
}

// workingDir is the unit's, "" where it has none of its own.
func workingDir(s service) string {
	dir := strings.TrimLeft(s.workingDir, "!-")
	if dir == "~" {
		return ""
	}
	return dir
}
