// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"bytes"
	"context"
	"encoding/base64"

	"drover/internal/expression"
	"drover/internal/wire"
)

// maxSlurp bounds a file that becomes a variable, in bytes.
const maxSlurp = 16 << 20

func slurpModule() Module {
	return Module{
		Name:  "slurp",
		Short: "Read a file from the host",
		Doc:   "Reads a file of at most 16 MiB into the result, in base64, since it need not be text. Use the filter b64decode.",
		Args: []Arg{
			{Name: "src", Kind: Path, Required: true, Aliases: []string{"path"}, Doc: "The path on the host."},
		},
		Check: CheckReads,
		Returns: []Arg{
			{Name: "content", Kind: String, Doc: "The file's bytes in base64."},
			{Name: "encoding", Kind: String, Doc: "base64."},
			{Name: "source", Kind: Path, Doc: "The path."},
		},
		Example: `- slurp:
    src: /etc/nomad.d/nomad.hcl
  register: config`,
		Run: slurp,
	}
}

func slurp(ctx context.Context, call *Call) (*Result, error) {
	path := call.Args.String("src")
	var content bytes.Buffer
	var reply wire.ReadResult
	if err := call.Host.Receive(ctx, wire.Read{Path: path, Max: maxSlurp}, &reply, &content); err != nil {
		return nil, err
	}
	return &Result{Data: expression.MapOf(
		"content", base64.StdEncoding.EncodeToString(content.Bytes()), "encoding", "base64", "source", path,
	)}, nil
}
