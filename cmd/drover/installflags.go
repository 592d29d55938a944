// SPDX-License-Identifier: MPL-2.0

package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"drover/internal/expression"
)

// installFlags say what hosts without Nomad get.
type installFlags struct {
	binaryFlags
	model    string
	config   string
	unitFile string
	set      []string
}

// register adds the flags; role is client or server, example a --set.
func (i *installFlags) register(c *cobra.Command, fleet *fleetFlags, role, example string) {
	i.binaryFlags.register(c, "the `VERSION` of the new "+role+"s, such as 1.11.0")
	flags := c.Flags()
	flags.StringVar(&i.model, "from", "", "the `HOST` whose configuration and unit new "+role+"s get (default: the first of old_"+role+"s)")
	flags.StringVar(&i.config, "config", "", "`PATH` of the new "+role+"s' configuration: a file, or a directory of them (*.hcl, *.json, *.j2)")
	flags.StringVar(&i.unitFile, "unit-file", "", "`FILE`: the new "+role+"s' unit file (default: that of --from, else one like that of HashiCorp's packages)")
	flags.StringArrayVar(&i.set, "set", nil, "`KEY=VALUE`: a key of the new "+role+"s' configuration, such as "+example+"; may be given more than once")
	_ = c.RegisterFlagCompletionFunc("from", fleet.completeHosts)
}

// vars are the variables that the ready playbooks read.
func (i *installFlags) vars() (*expression.Map, error) {
	vars, err := i.binaryFlags.vars()
	if err != nil {
		return nil, err
	}
	for _, path := range []struct{ flag, given, variable string }{{"config", i.config, "config"}, {"unit-file", i.unitFile, "unit_file"}} {
		if path.given == "" {
			continue
		}
		absolute, err := anyPath(path.flag, path.given)
		if err != nil {
			return nil, err
		}
		vars.Set(path.variable, absolute)
	}
	set := expression.NewMap()
	for _, pair := range i.set {
		key, value, found := strings.Cut(pair, "=")
		if !found || key == "" {
			return nil, usageError("--set is KEY=VALUE, such as client.node_pool=big, not %q", pair)
		}
		set.Set(key, settingOf(value))
	}
	vars.Set("config_set", set)
	vars.Set("model", i.model)
	return vars, nil
}

// likeFirst takes the first host of a group as the model where the user names neither a host nor files.
func (i *installFlags) likeFirst(fl *fleet, vars *expression.Map, group string) {
	if i.model != "" || i.config != "" {
		return
	}
	if old, err := fl.inventory.Limit(group); err == nil && len(old) > 0 {
		vars.Set("model", old[0].Name)
	}
}

// settingOf reads a value of --set: null, a boolean, an integer, else text.
func settingOf(text string) any {
	if text == "null" {
		return nil
	}
	if number, err := strconv.ParseInt(text, 10, 64); err == nil {
		return number
	}
	if text == "true" || text == "false" {
		return text == "true"
	}
	return text
}

// anyPath is the absolute path of a file or directory that a flag names.
func anyPath(flag, path string) (string, error) {
	if _, err := os.Stat(path); err != nil {
		return "", usageError("--%s: %w", flag, err)
	}
	return filepath.Abs(path)
}
