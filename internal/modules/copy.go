// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"drover/internal/expression"
	"drover/internal/wire"
)

func copyModule() Module {
	return Module{
		Name:  "copy",
		Short: "Put a file on the host",
		Doc: "Puts a file from beside the playbook, or a text, on the host: into a temporary file, checked, then renamed, so that nobody " +
			"ever sees half of it. An existing file keeps its mode, owner and extended attributes unless the task sets them.",
		Args: append([]Arg{
			{Name: "src", Kind: Path, Doc: "The file on this machine: absolute, or beside the playbook or in its files directory."},
			{Name: "content", Kind: Any, Doc: "The text itself, in place of src. A list or dictionary is written as JSON."},
			{Name: "dest", Kind: Path, Required: true, Doc: "The path on the host. Where it is a directory or ends in /, src's name is added."},
			{Name: "backup", Kind: Boolean, Default: false, Doc: "Keep the previous content beside the file."},
			{Name: "force", Kind: Boolean, Default: true, Doc: "Replace a file with other content; false leaves any existing file alone."},
			{Name: "checksum", Kind: String, Doc: "SHA-256 that the content must have, in hex."},
		}, ownerArgs()...),
		Exclusive: [][]string{{"src", "content"}},
		Check:     CheckFull,
		Diff:      true,
		Returns: append([]Arg{
			{Name: "checksum", Kind: String, Doc: "SHA-256 of the content, in hex (Ansible gives SHA-1)."},
			{Name: "backup_file", Kind: Path, Doc: "Where the previous content is kept."},
		}, pathReturns()...),
		Example: `- copy:
    content: |
      raft_protocol = 3
    dest: /etc/nomad.d/raft.hcl
    owner: nomad
    mode: "0640"`,
		Run: copyFile,
	}
}

// payload is what copy sends.
type payload struct {
	open   func() (io.ReadCloser, error)
	name   string // of src, to be added to a directory; "" for content
	size   int64
	sha256 string
}

func copyFile(ctx context.Context, call *Call) (*Result, error) {
	content, err := copyPayload(call)
	if err != nil {
		return nil, err
	}
	if want := call.Args.String("checksum"); want != "" && !strings.EqualFold(want, content.sha256) {
		return nil, fmt.Errorf("the content has the SHA-256 %s and not %s", content.sha256, want)
	}
	dest, before, err := copyDestination(ctx, call, content.name)
	if err != nil {
		return nil, err
	}
	mode, owner, group := call.Args.Mode("mode"), call.Args.String("owner"), call.Args.String("group")
	same := before.Exists && (before.SHA256 == content.sha256 || !call.Args.Bool("force"))
	if same && !attributesDiffer(before, mode, owner, group) {
		return copyResult(dest, content, before, false), nil
	}
	if same {
		return copyAttributes(ctx, call, dest, content)
	}
	result := copyResult(dest, content, before, true)
	if call.Diff {
		if result.Diff, err = content.diff(ctx, call.Host, dest, before); err != nil {
			return nil, err
		}
	}
	if call.Check {
		return result, nil
	}
	reply, err := content.write(ctx, call, dest)
	if err != nil {
		return nil, err
	}
	result.Changed = reply.Changed
	if reply.Backup != "" {
		result.Data.Set("backup_file", reply.Backup)
	}
	return result, nil
}

func copyPayload(call *Call) (*payload, error) {
	if call.Args.Has("content") {
		text, err := contentText(call.Args.Any("content"))
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(text)
		return &payload{
			open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text)), nil },
			size: int64(len(text)), sha256: hex.EncodeToString(sum[:]),
		}, nil
	}
	if !call.Args.Has("src") {
		return nil, errors.New("give src or content")
	}
	source, err := call.Files(call.Args.String("src"))
	if err != nil {
		return nil, err
	}
	return filePayload(source)
}

func filePayload(source string) (*payload, error) {
	opened, err := os.Open(source)
	if err != nil {
		return nil, fmt.Errorf("src: %w", err)
	}
	defer opened.Close()
	info, err := opened.Stat()
	if err != nil {
		return nil, fmt.Errorf("src: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("src %s is not a regular file; a directory is copied file by file, in a loop", source)
	}
	hash := sha256.New()
	size, err := io.Copy(hash, opened)
	if err != nil {
		return nil, fmt.Errorf("src: %w", err)
	}
	return &payload{
		open: func() (io.ReadCloser, error) { return os.Open(source) },
		name: filepath.Base(source), size: size, sha256: hex.EncodeToString(hash.Sum(nil)),
	}, nil
}

func contentText(value any) ([]byte, error) {
	switch value.(type) {
	case []any, expression.Mapping:
		text, err := json.Marshal(value)
		if err != nil {
			return nil, fmt.Errorf("content: %w", err)
		}
		return text, nil
	}
	text, err := toText(value)
	if err != nil {
		return nil, fmt.Errorf("content is %w", err)
	}
	return []byte(text.(string)), nil
}

// copyDestination finds the path that is meant and what is there now.
func copyDestination(ctx context.Context, call *Call, name string) (string, wire.StatResult, error) {
	dest := call.Args.String("dest")
	var before wire.StatResult
	if strings.HasSuffix(dest, "/") {
		if name == "" {
			return "", before, fmt.Errorf("dest %s is a directory: content needs the name of a file", dest)
		}
		dest = path.Join(dest, name)
	}
	for range 2 {
		if err := call.Host.Call(ctx, wire.Stat{Path: dest, Follow: true, Hash: true}, nil, &before); err != nil {
			return "", before, err
		}
		if before.Type != "directory" {
			break
		}
		if name == "" || path.Base(dest) == name {
			return "", before, fmt.Errorf("dest %s is a directory", dest)
		}
		dest, before = path.Join(dest, name), wire.StatResult{}
	}
	if before.Exists && before.Type != "file" {
		return "", before, fmt.Errorf("dest %s is not a regular file but %s", dest, before.Type)
	}
	return dest, before, nil
}

// copyAttributes changes mode, owner and group of a file whose content stays.
func copyAttributes(ctx context.Context, call *Call, dest string, content *payload) (*Result, error) {
	request := wire.File{
		Path: dest, State: "file", Mode: call.Args.Mode("mode"), Owner: call.Args.String("owner"),
		Group: call.Args.String("group"), Check: call.Check,
	}
	var reply wire.FileResult
	if err := call.Host.Call(ctx, request, nil, &reply); err != nil {
		return nil, err
	}
	result := copyResult(dest, content, reply.After, reply.Changed)
	if call.Diff {
		result.Diff = unified(dest, describeState(reply.Before), describeState(predicted(request, reply.Before)))
	}
	return result, nil
}

func copyResult(dest string, content *payload, state wire.StatResult, changed bool) *Result {
	data := expression.MapOf("path", dest, "dest", dest, "state", "file", "size", content.size, "checksum", content.sha256)
	if state.Exists && !changed {
		data = pathData(dest, state)
		data.Set("checksum", state.SHA256)
	}
	return &Result{Changed: changed, Data: data}
}

func (p *payload) diff(ctx context.Context, host Host, dest string, before wire.StatResult) (string, error) {
	content, err := p.open()
	if err != nil {
		return "", fmt.Errorf("src: %w", err)
	}
	defer content.Close()
	text, err := io.ReadAll(io.LimitReader(content, maxDiff+1))
	if err != nil {
		return "", fmt.Errorf("src: %w", err)
	}
	return contentDiff(ctx, host, dest, before, text)
}

func (p *payload) write(ctx context.Context, call *Call, dest string) (wire.WriteResult, error) {
	var reply wire.WriteResult
	content, err := p.open()
	if err != nil {
		return reply, fmt.Errorf("src: %w", err)
	}
	defer content.Close()
	request := wire.Write{
		Path: dest, Size: p.size, SHA256: p.sha256, Mode: call.Args.Mode("mode"), Owner: call.Args.String("owner"),
		Group: call.Args.String("group"), Backup: call.Args.Bool("backup"), NoClobber: !call.Args.Bool("force"),
	}
	err = call.Host.Call(ctx, request, content, &reply)
	return reply, err
}
