// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"errors"

	"drover/internal/expression"
	"drover/internal/wire"
)

func systemdModule() Module {
	return Module{
		Name:    "systemd",
		Aliases: []string{"service", "systemd_service"},
		Short:   "Start, stop, enable and reload systemd units",
		Doc: "Brings a unit into a state and waits for systemd's own word on how it went. A unit that runs Nomad is refused, because a stop " +
			"that nobody has asked the cluster about can cost its quorum: nomad_swap is the module for that.",
		Args: []Arg{
			{Name: "name", Kind: String, Required: true, Aliases: []string{"service", "unit"}, Doc: "The unit; without an ending, .service is meant."},
			{
				Name: "state", Kind: String, Choices: []string{"reloaded", "restarted", "started", "stopped"},
				Doc: "started and stopped change nothing where that is so already; restarted and reloaded always act.",
			},
			{Name: "enabled", Kind: Boolean, Doc: "Whether it starts at boot."},
			{Name: "masked", Kind: Boolean, Doc: "Whether it cannot be started at all."},
			{Name: "daemon_reload", Kind: Boolean, Default: false, Aliases: []string{"daemon-reload"}, Doc: "Let systemd read its unit files again first."},
			{Name: "unguarded", Kind: Boolean, Default: false, Doc: "Act on a unit that runs Nomad all the same."},
		},
		Check: CheckFull,
		Returns: []Arg{
			{Name: "name", Kind: String, Doc: "The unit."},
			{Name: "state", Kind: String, Doc: "started or stopped."},
			{Name: "enabled", Kind: Boolean, Doc: "Whether it starts at boot."},
			{Name: "status", Kind: Dict, Doc: "Some of the unit's properties, by systemd's names: ActiveState, SubState, MainPID and more."},
		},
		Example: `- service:
    name: node_exporter
    state: restarted`,
		Run: systemd,
	}
}

func systemd(ctx context.Context, call *Call) (*Result, error) {
	args := call.Args
	request := wire.UnitControl{
		Name: args.String("name"), State: args.String("state"), DaemonReload: args.Bool("daemon_reload"),
		Check: call.Check, Unguarded: args.Bool("unguarded"), Enabled: optionalBool(args, "enabled"), Masked: optionalBool(args, "masked"),
	}
	if request.State == "" && request.Enabled == nil && request.Masked == nil && !request.DaemonReload {
		return nil, errors.New("give state, enabled, masked or daemon_reload")
	}
	var reply wire.UnitControlResult
	if err := call.Host.Call(ctx, request, nil, &reply); err != nil {
		return nil, err
	}
	state := "stopped"
	if reply.After.ActiveState == "active" || reply.After.ActiveState == "reloading" {
		state = "started"
	}
	return &Result{Changed: reply.Changed, Data: expression.MapOf(
		"name", request.Name, "state", state, "enabled", reply.After.UnitFileState == "enabled", "status", unitStatus(reply.After),
	)}, nil
}

func optionalBool(args Args, name string) *bool {
	if !args.Has(name) {
		return nil
	}
	value := args.Bool(name)
	return &value
}

func unitStatus(unit wire.UnitState) *expression.Map {
	return expression.MapOf(
		"Id", unit.Name, "LoadState", unit.LoadState, "ActiveState", unit.ActiveState, "SubState", unit.SubState,
		"UnitFileState", unit.UnitFileState, "Result", unit.Result, "Type", unit.Type, "MainPID", int64(unit.MainPID),
		"NRestarts", int64(unit.NRestarts), "InvocationID", unit.InvocationID, "FragmentPath", unit.FragmentPath,
	)
}
