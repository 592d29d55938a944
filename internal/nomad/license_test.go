// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"strings"
	"testing"
	"time"
)

func TestJudgeLicense(t *testing.T) {
	inspection := func(product, expires, built string, end ...string) []string {
		return append([]string{
			"Source: /etc/nomad.d/license.hclic", "Product: " + product, "Issue Time: 2021-12-01 17:49:23.021041516 +0000 UTC",
			"Start Time: 2021-12-01 00:00:00 +0000 UTC", "Expiration Time: " + expires + " 00:00:00 +0000 UTC",
			"Termination Time: " + expires + " 12:00:00 +0000 UTC", "Build Date: " + built + " 00:00:00 +0000 UTC",
			"Flags: {", `   "modules": [`, `      "governance-policy"`, "   ]", "}",
		}, end...)
	}
	usage := []string{"Usage: nomad license <subcommand> [options] [args]", "Subcommands:", "    get        Retrieve the current Nomad Enterprise License"}
	tests := []struct {
		name    string
		version string
		source  string
		rc      int
		lines   []string
		state   string
		why     string
	}{
		{"valid", "1.11.0+ent", "license_path /l", 0, inspection("nomad", "2030-01-01", "2025-11-11", "License is valid"), LicenseValid, "expires on 2030-01-01"},
		{"valid, in the words of 2.0", "2.0.5+ent", "license_path /l", 0, inspection("nomad", "2030-01-01", "2026-05-01", "Validation Checks:", "✓ All checks passed"), LicenseValid, "2030"},
		{"it has ended, and the binary is older than that", "1.11.0+ent", "license_path /l", 0, inspection("nomad", "2025-12-01", "2025-11-11", "License is valid"), LicenseValid, "2025-12-01"},
		{"before 1.6 the clock counts", "1.5.17+ent", "license_path /l", 0, inspection("nomad", "2025-12-01", "2025-11-11", "License is valid"), LicenseExpired, "ended on 2025-12-01"},
		{
			"expired", "1.11.0+ent", "license_path /l", 1,
			inspection("nomad", "2023-01-13", "2025-11-11", "Validation Errors:", "   * license is no longer valid", "   * license expiration date is before version build date: expiration=2023-01-13T23:59:59Z build=2025-11-11T00:00:00Z"),
			LicenseExpired, "expiration date is before version build date",
		},
		{"expired, though it says valid", "1.11.0+ent", "license_path /l", 0, inspection("nomad", "2023-01-13", "2025-11-11", "License is valid"), LicenseExpired, "expired on 2023-01-13, before the binary was built on 2025-11-11"},
		{"expired, with code 0", "1.11.0+ent", "license_path /l", 0, inspection("nomad", "2023-01-13", "2025-11-11", "Validation Errors:", " * license is no longer valid"), LicenseExpired, "no longer valid"},
		{"errors without a name", "1.11.0+ent", "license_path /l", 0, inspection("nomad", "2030-01-13", "2025-11-11", "Validation Errors:"), LicenseInvalid, "does not name"},
		{"absent", "1.11.0+ent", "", 0, nil, LicenseAbsent, "nothing names a licence"},
		{"a file that is not there", "1.11.0+ent", "license_path /l", 1, []string{"Error reading license: open /l: no such file or directory"}, LicenseInvalid, "no such file"},
		{"of another product", "1.11.0+ent", "license_path /l", 0, inspection("vault", "2030-01-01", "2025-11-11", "License is valid"), LicenseInvalid, "is for vault"},
		{"code 0 and a usage text prove nothing", "1.11.0+ent", "license_path /l", 0, usage, LicenseInvalid, "does not call the licence"},
		{"nothing printed", "1.11.0+ent", "license_path /l", 0, nil, LicenseInvalid, "it printed nothing"},
		{"a yes that ends with an error", "1.11.0+ent", "license_path /l", 2, inspection("nomad", "2030-01-01", "2025-11-11", "License is valid"), LicenseInvalid, "code 2"},
		{"the community edition", "1.11.0", "license_path /l", 0, inspection("nomad", "2030-01-01", "2025-11-11", "License is valid"), LicenseInvalid, "community edition"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := JudgeLicense(LicenseEvidence{Version: version(test.version), Source: test.source, RC: test.rc, Lines: test.lines, Now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)})
			if got.State != test.state || !strings.Contains(got.Why, test.why) {
				t.Errorf("%+v", got)
			}
			if (got.Remedy == "") != (got.State == LicenseValid) {
				t.Errorf("remedy %q of a %s licence", got.Remedy, got.State)
			}
		})
	}
}
