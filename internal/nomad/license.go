// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"fmt"
	"strings"
	"time"
)

// States of a licence, for a binary.
const (
	LicenseValid   = "valid"
	LicenseExpired = "expired"
	LicenseAbsent  = "absent"
	LicenseInvalid = "invalid" // of another product, damaged, or not judged at all
)

// LicenseEvidence is what a new binary printed for `license inspect` on a server.
type LicenseEvidence struct {
	Version Version  // of the binary
	Source  string   // where the licence is; "" when nothing names one
	RC      int      // not 0 speaks against it, 0 for nothing: the community edition exits with 0 too
	Lines   []string // what was printed
	Now     time.Time
}

// License is the verdict.
type License struct {
	State  string
	Why    string // for a valid one: until when
	Remedy string
}

// licenseTime is how the inspection writes times, and how its errors do.
const licenseTime = "2006-01-02 15:04:05.999999999 -0700 MST"

// JudgeLicense says whether a server of an Enterprise binary would start with its licence. Only the binary's own words count, and they
// must say so: it ends with "License is valid", since 2.0 with "All checks passed". The dates are held against each other besides: since
// 1.6 a licence is good for all binaries built before it expires, earlier ones want it not to have ended now (Nomad 1.6 upgrade notes).
func JudgeLicense(e LicenseEvidence) License {
	const renew = "install a licence that is valid for this version, then run the command again"
	if e.Version.Edition() == "" {
		return License{LicenseInvalid, "the binary is of the community edition, which knows no licences", "use an Enterprise binary"}
	}
	if e.Source == "" {
		return License{LicenseAbsent, "nothing names a licence", "set license_path in the server block, or NOMAD_LICENSE_PATH in the unit's environment"}
	}
	fields, faults, approved := readInspection(e.Lines)
	expiration, termination, build := licenseDate(fields["expiration time"]), licenseDate(fields["termination time"]), licenseDate(fields["build date"])
	product, known := fields["product"]
	switch {
	case known && !strings.EqualFold(product, "nomad"):
		return License{LicenseInvalid, fmt.Sprintf("the licence (%s) is for %s, not for nomad", e.Source, product), renew}
	case len(faults) > 0:
		state := LicenseInvalid
		if words := strings.ToLower(strings.Join(faults, " ")); strings.Contains(words, "expir") || strings.Contains(words, "no longer valid") {
			state = LicenseExpired
		}
		return License{state, fmt.Sprintf("the new binary says of the licence (%s): %s", e.Source, strings.Join(faults, "; ")), renew}
	case !known || !approved || e.RC != 0:
		return License{LicenseInvalid, fmt.Sprintf("the new binary does not call the licence (%s) valid (code %d): %s", e.Source, e.RC, lastWords(e.Lines)), renew}
	case e.Version.AtLeast("1.6.0") && !expiration.IsZero() && !build.IsZero() && expiration.Before(build):
		return License{LicenseExpired, fmt.Sprintf("the licence (%s) expired on %s, before the binary was built on %s", e.Source, expiration.Format(time.DateOnly), build.Format(time.DateOnly)), renew}
	case !e.Version.AtLeast("1.6.0") && !termination.IsZero() && termination.Before(e.Now):
		return License{LicenseExpired, fmt.Sprintf("the licence (%s) ended on %s", e.Source, termination.Format(time.DateOnly)), renew}
	}
	until := ""
	if !expiration.IsZero() {
		until = ", expires on " + expiration.Format(time.DateOnly)
	}
	return License{State: LicenseValid, Why: fmt.Sprintf("licence valid (%s)%s", e.Source, until)}
}

// readInspection takes an inspection apart: its fields by name in small letters, the faults that it lists, and whether it says yes.
func readInspection(lines []string) (fields map[string]string, faults []string, approved bool) {
	fields = map[string]string{}
	listing := false
	for _, line := range lines {
		text := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(text, "Validation Errors"):
			listing = true
		case listing && (strings.HasPrefix(text, "*") || strings.HasPrefix(text, "✗") || strings.HasPrefix(text, "-")):
			faults = append(faults, strings.TrimSpace(strings.TrimLeft(text, "*✗- ")))
		case text == "License is valid" || strings.HasSuffix(text, "All checks passed"):
			approved = true
		default:
			if name, value, ok := strings.Cut(text, ": "); ok {
				fields[strings.ToLower(name)] = strings.TrimSpace(value)
			}
			if strings.HasPrefix(text, "✗") {
				faults = append(faults, strings.TrimSpace(strings.TrimLeft(text, "✗ ")))
			}
		}
	}
	if listing && len(faults) == 0 {
		faults = append(faults, "validation errors that it does not name")
	}
	return fields, faults, approved && len(faults) == 0
}

// licenseDate reads a time of an inspection; zero when it is none.
func licenseDate(text string) time.Time {
	at, err := time.Parse(licenseTime, text)
	if err != nil {
		return time.Time{}
	}
	return at
}

// lastWords are the last lines that a program printed, for an error text.
func lastWords(lines []string) string {
	if len(lines) == 0 {
		return "it printed nothing"
	}
	return strings.Join(lines[max(0, len(lines)-3):], "; ")
}
