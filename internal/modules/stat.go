// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"

	"drover/internal/expression"
	"drover/internal/wire"
)

func statModule() Module {
	return Module{
		Name:  "stat",
		Short: "Look at a path on the host",
		Doc:   "Tells whether a path exists and what it is. A missing path is no failure.",
		Args: []Arg{
			{Name: "path", Kind: Path, Required: true, Aliases: []string{"dest", "name"}, Doc: "The path on the host."},
			{Name: "follow", Kind: Boolean, Default: false, Doc: "Look at what a symbolic link points to."},
			{Name: "get_checksum", Kind: Boolean, Default: true, Doc: "Also hash a regular file."},
			{
				Name: "checksum_algorithm", Kind: String, Default: "sha256", Choices: []string{"sha256"}, Aliases: []string{"checksum", "checksum_algo"},
				Doc: "Only SHA-256; Ansible's default is SHA-1.",
			},
			{Name: "get_mime", Kind: Boolean, Default: false, Doc: "Accepted for Ansible's sake: there is no such result."},
			{Name: "get_attributes", Kind: Boolean, Default: false, Doc: "Accepted for Ansible's sake: there is no such result."},
		},
		Check: CheckReads,
		Returns: []Arg{{Name: "stat", Kind: Dict, Doc: "exists and, when it does: path, isreg, isdir, islnk, mode, size, uid, gid, pw_name, gr_name, " +
			"mtime, inode, dev, checksum, lnk_target, isuid, isgid, and rusr to xoth."}},
		Example: `- stat:
    path: /opt/nomad/server/raft
  register: raft
- fail:
    msg: There is no raft directory.
  when: not raft.stat.exists`,
		Run: stat,
	}
}

func stat(ctx context.Context, call *Call) (*Result, error) {
	path := call.Args.String("path")
	var state wire.StatResult
	request := wire.Stat{Path: path, Follow: call.Args.Bool("follow"), Hash: call.Args.Bool("get_checksum")}
	if err := call.Host.Call(ctx, request, nil, &state); err != nil {
		return nil, err
	}
	return &Result{Data: expression.MapOf("stat", statData(path, state))}, nil
}

func statData(path string, state wire.StatResult) *expression.Map {
	if !state.Exists {
		return expression.MapOf("exists", false)
	}
	data := expression.MapOf(
		"exists", true, "path", path, "mode", modeText(state.Mode), "size", state.Size,
		"isreg", state.Type == "file", "isdir", state.Type == "directory", "islnk", state.Type == "link",
		"uid", int64(state.UID), "gid", int64(state.GID), "pw_name", state.User, "gr_name", state.Group,
		"mtime", float64(state.ModTime)/1e9, "inode", state.Inode, "dev", state.Device,
	)
	for i, name := range []string{"xoth", "woth", "roth", "xgrp", "wgrp", "rgrp", "xusr", "wusr", "rusr"} {
		data.Set(name, state.Mode>>i&1 == 1)
	}
	data.Set("isgid", state.Mode&0o2000 != 0)
	data.Set("isuid", state.Mode&0o4000 != 0)
	if state.SHA256 != "" {
		data.Set("checksum", state.SHA256)
	}
	if state.Type == "link" {
		data.Set("lnk_target", state.LinkTarget)
	}
	return data
}
