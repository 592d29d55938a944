// SPDX-License-Identifier: MPL-2.0

package main

import (
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"drover/internal/expression"
	"drover/internal/modules"
	"drover/internal/nomad"
)

// binaryFlags say which Nomad hosts get, and where it comes from.
type binaryFlags struct {
	to         string
	binary     string
	binaryDir  string
	mirror     string
	releaseKey string
}

// register adds the flags; to says what --to is.
func (b *binaryFlags) register(c *cobra.Command, to string) {
	flags := c.Flags()
	flags.StringVar(&b.to, "to", "", to)
	flags.StringVar(&b.binary, "binary", "", "`FILE` of the new Nomad: a binary or a release zip (default: HashiCorp's releases)")
	flags.StringVar(&b.binaryDir, "binary-dir", "", "`DIR` of release zips or binaries; each host's architecture is picked, SHA256SUMS beside them checked")
	flags.StringVar(&b.mirror, "mirror", "", "fetch the release from this http(s) `URL`, laid out as "+releases+" (the default)")
	flags.StringVar(&b.releaseKey, "release-key", "", "`FILE` of the public key (ASCII armour) whose signature of a release counts (default: HashiCorp's key)")
	c.MarkFlagsMutuallyExclusive("binary", "binary-dir", "mirror")
}

// target is the version of --to.
func (b *binaryFlags) target() (nomad.Version, error) {
	if b.to == "" {
		return nomad.Version{}, usageError("say which version to upgrade to: --to 1.11.0")
	}
	target, err := nomad.ParseVersion(b.to)
	if err != nil {
		return target, usageError("--to: %w", err)
	}
	return target, nil
}

// vars are the variables of a ready playbook that say what to install.
func (b *binaryFlags) vars() (*expression.Map, error) {
	if _, err := b.target(); err != nil {
		return nil, err
	}
	if strings.HasPrefix(b.binary, "http://") || strings.HasPrefix(b.binary, "https://") {
		return nil, usageError("--binary takes a file, not a URL: --mirror URL fetches a release and checks its signature")
	}
	if b.mirror != "" {
		if err := modules.CheckMirror(b.mirror); err != nil {
			return nil, usageError("--mirror: %w", err)
		}
	}
	vars := expression.MapOf("version", b.to, "mirror", b.mirror)
	for _, path := range []struct {
		flag, given, variable string
		directory             bool
	}{
		{"binary", b.binary, "binary", false},
		{"binary-dir", b.binaryDir, "binary_dir", true},
		{"release-key", b.releaseKey, "release_key", false},
	} {
		absolute, err := pathOf(path.flag, path.given, path.directory)
		if err != nil {
			return nil, err
		}
		vars.Set(path.variable, absolute)
	}
	return vars, nil
}

// pathOf is the path that a flag names, absolute: a playbook looks for others beside itself, and the user means the working directory.
func pathOf(flag, path string, directory bool) (string, error) {
	if path == "" {
		return "", nil
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return "", usageError("--%s: %w", flag, err)
	case info.IsDir() && !directory && flag == "binary":
		return "", usageError("--binary: %s is a directory; --binary-dir takes those", path)
	case info.IsDir() && !directory:
		return "", usageError("--%s: %s is a directory, and a file is needed", flag, path)
	case !info.IsDir() && directory:
		return "", usageError("--%s: %s is not a directory; --binary takes a file", flag, path)
	}
	return filepath.Abs(path)
}

// releases is where Nomad is fetched from when no flag and no task says otherwise.
const releases = "https://releases.hashicorp.com"

// proxy is what the bastion's environment says: HTTPS_PROXY, HTTP_PROXY and NO_PROXY. The error of a bad one would repeat its password.
func proxy(request *http.Request) (*url.URL, error) {
	through, err := http.ProxyFromEnvironment(request)
	if err != nil {
		return nil, errors.New("the environment names a proxy (HTTPS_PROXY or HTTP_PROXY) that is not a URL")
	}
	return through, nil
}
