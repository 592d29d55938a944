// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"drover/internal/wire"
)

func TestLicenseLines(t *testing.T) {
	blob := strings.Repeat("02MV4UU43BK5HGYY", 40)
	for name, test := range map[string]struct {
		text, secret string
		want         []string
	}{
		"a verdict": {"Source: /l\nProduct: nomad\nLicense ID: a-b\nCustomer ID: c\nInstallation ID: *\n\nLicense is valid\n", "", []string{"Source: /l", "Product: nomad", "License is valid"}},
		"an error":  {"Error reading license: open /etc/license: no such file or directory", "", []string{"Error reading license: open /etc/license: no such file or directory"}},
		"a licence": {"cannot decode " + blob + "\nnor top-secret", "top-secret", []string{"cannot decode " + redacted, "nor " + redacted}},
		"nothing":   {"\n\n", "", []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			got := licenseLines(test.text, test.secret)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLicenseLinesHaveNoControlCharacters(t *testing.T) {
	if got := strings.Join(licenseLines("\x1b[31mred", ""), ""); strings.Contains(got, "\x1b") || !strings.Contains(got, "red") {
		t.Errorf("%q", got)
	}
}

// The licence is looked for where Enterprise looks, the strongest place first, and inspected with the unit's environment.
func TestInspectLicense(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "nomad")
	script := "#!/bin/sh\necho \"$# $3 ${NOMAD_LICENSE_PATH:-none}\"\nexit 3\n"
	if err := os.WriteFile(binary, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		path string
		env  []string
		want wire.LicenseResult
	}{
		"the configuration wins":  {"/etc/l", []string{"NOMAD_LICENSE=x", "NOMAD_LICENSE_PATH=/p"}, wire.LicenseResult{Source: "license_path /etc/l", RC: 3, Lines: []string{"3 /etc/l /p"}}},
		"then the licence itself": {"", []string{"NOMAD_LICENSE=x", "NOMAD_LICENSE_PATH=/p"}, wire.LicenseResult{Source: "the variable NOMAD_LICENSE", RC: 3, Lines: []string{"2  /p"}}},
		"then its path":           {"", []string{"NOMAD_LICENSE_PATH=/p"}, wire.LicenseResult{Source: "the variable NOMAD_LICENSE_PATH", RC: 3, Lines: []string{"2  /p"}}},
		"nowhere: nothing is run": {"", nil, wire.LicenseResult{Lines: []string{}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := inspectLicense(t.Context(), service{environment: test.env}, nil, binary, wire.License{Path: test.path})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, *got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
