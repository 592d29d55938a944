// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"fmt"
	"strconv"

	"drover/internal/expression"
	"drover/internal/wire"
)

// ownerArgs are the arguments of every module that leaves a file behind.
func ownerArgs() []Arg {
	return []Arg{
		{Name: "mode", Kind: Mode, Doc: `Permission bits as text ("0644"). Without it an existing file keeps its own.`},
		{Name: "owner", Kind: String, Doc: "User name or number."},
		{Name: "group", Kind: String, Doc: "Group name or number."},
	}
}

func modeText(mode uint32) string { return fmt.Sprintf("%04o", mode) }

// attributesDiffer tells whether a path lacks what a task asks of its mode, owner and group.
func attributesDiffer(state wire.StatResult, mode *uint32, owner, group string) bool {
	return mode != nil && *mode != state.Mode ||
		owner != "" && owner != state.User && owner != strconv.Itoa(state.UID) ||
		group != "" && group != state.Group && group != strconv.Itoa(state.GID)
}

// pathData is what file and copy return of a path.
func pathData(path string, state wire.StatResult) *expression.Map {
	kind := state.Type
	if !state.Exists {
		kind = "absent"
	}
	data := expression.MapOf("path", path, "dest", path, "state", kind)
	if state.Exists {
		data.Set("mode", modeText(state.Mode))
		data.Set("owner", state.User)
		data.Set("group", state.Group)
		data.Set("uid", int64(state.UID))
		data.Set("gid", int64(state.GID))
		data.Set("size", state.Size)
	}
	return data
}

func pathReturns() []Arg {
	return []Arg{
		{Name: "path", Kind: Path, Doc: "The path, also as dest."},
		{Name: "state", Kind: String, Doc: "file, directory, link or absent."},
		{Name: "mode", Kind: String, Doc: "Permission bits, as 0644."},
		{Name: "owner", Kind: String, Doc: "User name."},
		{Name: "group", Kind: String, Doc: "Group name."},
		{Name: "uid", Kind: Integer, Doc: "User number."},
		{Name: "gid", Kind: Integer, Doc: "Group number."},
		{Name: "size", Kind: Integer, Doc: "Bytes."},
	}
}
