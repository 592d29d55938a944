// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"bytes"
	"context"
	"path"
	"slices"
	"strings"

	"drover/internal/nomad"
	"drover/internal/wire"
)

const (
	maximumConfig  = 1 << 20
	maximumPlugins = 100
)

// settings reads what the notes of versions ask for out of the configuration files, and lists the programs in the directory
// of plugins.
func settings(ctx context.Context, host Host, files []string) []nomad.Setting {
	found := []nomad.Setting{}
	for _, file := range files {
		var content bytes.Buffer
		var reply wire.ReadResult
		if err := host.Receive(ctx, wire.Read{Path: file, Max: maximumConfig}, &reply, &content); err != nil {
			found = append(found, nomad.Setting{Key: nomad.KeyUnread, File: file})
			continue
		}
		found = append(found, nomad.ReadSettings(file, content.Bytes())...)
	}
	return append(found, pluginFiles(ctx, host, found)...)
}

// pluginFiles lists the programs in the directory of plugins, which is DATA_DIR/plugins where none is set.
func pluginFiles(ctx context.Context, host Host, found []nomad.Setting) []nomad.Setting {
	directory := ""
	if data, ok := nomad.Deciding(found, "data_dir"); ok && data.Value != "" {
		directory = path.Join(data.Value, "plugins")
	}
	if set, ok := nomad.Deciding(found, "plugin_dir"); ok && set.Value != "" {
		directory = set.Value
	}
	if !path.IsAbs(directory) {
		return nil
	}
	var there wire.StatResult
	if err := host.Call(ctx, wire.Stat{Path: directory}, nil, &there); err != nil || there.Type != "directory" {
		return nil
	}
	var result wire.RunResult
	list := wire.Run{Argv: []string{"find", directory, "-mindepth", "1", "-maxdepth", "1", "!", "-type", "d", "-perm", "/111"}, MaxBytes: 64 << 10}
	if err := host.Call(ctx, list, nil, &result); err != nil || result.RC != 0 {
		return nil
	}
	names := strings.Split(strings.TrimSpace(result.Stdout), "\n")
	slices.Sort(names)
	var plugins []nomad.Setting
	for _, name := range names[:min(len(names), maximumPlugins)] {
		if strings.HasPrefix(name, directory+"/") {
			plugins = append(plugins, nomad.Setting{Key: nomad.KeyPluginFile, Value: path.Base(name), File: directory})
		}
	}
	return plugins
}
