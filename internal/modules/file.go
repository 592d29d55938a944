// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"fmt"
	"strings"

	"drover/internal/wire"
)

func fileModule() Module {
	return Module{
		Name:  "file",
		Short: "Bring a path into a state: directory, link, absent, or with certain permissions",
		Doc:   "Makes directories and links, removes paths, and sets mode, owner and group. It never writes content; see copy.",
		Args: append([]Arg{
			{Name: "path", Kind: Path, Required: true, Aliases: []string{"dest", "name"}, Doc: "The path on the host."},
			{
				Name: "state", Kind: String, Choices: []string{"absent", "directory", "file", "hard", "link", "touch"},
				Doc: "Without it: what the path is now, so that only mode, owner and group change (with recurse: directory).",
			},
			{Name: "src", Kind: Path, Doc: "Where a link points."},
			{Name: "recurse", Kind: Boolean, Default: false, Doc: "Set mode, owner and group of everything below a directory too."},
			{Name: "force", Kind: Boolean, Default: false, Doc: "Let a link replace a file."},
		}, ownerArgs()...),
		Check:   CheckFull,
		Diff:    true,
		Returns: pathReturns(),
		Example: `- file:
    path: /opt/nomad/plugins
    state: directory
    owner: nomad
    mode: "0755"`,
		Run: file,
	}
}

func file(ctx context.Context, call *Call) (*Result, error) {
	args := call.Args
	request := wire.File{
		Path: args.String("path"), State: args.String("state"), Source: args.String("src"), Mode: args.Mode("mode"),
		Owner: args.String("owner"), Group: args.String("group"), Recurse: args.Bool("recurse"), Force: args.Bool("force"),
		Check: call.Check,
	}
	if request.State == "" {
		state, err := presentState(ctx, call, request.Recurse)
		if err != nil {
			return nil, err
		}
		request.State = state
	}
	linked := request.State == "link" || request.State == "hard"
	switch {
	case linked && request.Source == "":
		return nil, fmt.Errorf("state %s of %s needs src", request.State, request.Path)
	case !linked && request.Source != "":
		return nil, fmt.Errorf("src of %s is only for state link and hard", request.Path)
	case request.Recurse && request.State != "directory":
		return nil, fmt.Errorf("recurse of %s is only for state directory", request.Path)
	}
	var reply wire.FileResult
	if err := call.Host.Call(ctx, request, nil, &reply); err != nil {
		return nil, err
	}
	result := &Result{Changed: reply.Changed, Data: pathData(request.Path, reply.After)}
	if call.Diff && reply.Changed {
		after := reply.After
		if call.Check {
			after = predicted(request, reply.Before)
		}
		result.Diff = unified(request.Path, describeState(reply.Before), describeState(after))
	}
	return result, nil
}

// presentState is the state that changes nothing but attributes.
func presentState(ctx context.Context, call *Call, recurse bool) (string, error) {
	if recurse {
		return "directory", nil
	}
	path := call.Args.String("path")
	var now wire.StatResult
	if err := call.Host.Call(ctx, wire.Stat{Path: path, Follow: true}, nil, &now); err != nil {
		return "", err
	}
	if now.Type == "directory" {
		return "directory", nil
	}
	return "file", nil
}

// predicted is what a path will be, as far as it is known before it is done.
func predicted(request wire.File, before wire.StatResult) wire.StatResult {
	after := before
	after.Exists = request.State != "absent"
	switch request.State {
	case "directory", "link":
		after.Type = request.State
	case "touch", "hard":
		after.Type = "file"
	}
	after.LinkTarget = request.Source
	if request.Mode != nil {
		after.Mode = *request.Mode
	}
	if request.Owner != "" {
		after.User = request.Owner
	}
	if request.Group != "" {
		after.Group = request.Group
	}
	return after
}

// describeState writes a path's attributes as lines, for a diff.
func describeState(state wire.StatResult) string {
	if !state.Exists {
		return "state: absent\n"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "state: %s\nmode: %s\nowner: %s\ngroup: %s\n", state.Type, modeText(state.Mode), state.User, state.Group)
	if state.LinkTarget != "" {
		fmt.Fprintf(&b, "src: %s\n", state.LinkTarget)
	}
	return b.String()
}
