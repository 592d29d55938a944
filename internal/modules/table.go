// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"slices"
	"strings"
)

// Table lists every module there is, in the order of their names.
func Table() []Module {
	return []Module{
		assertModule(),
		commandModule(),
		copyModule(),
		debugModule(),
		failModule(),
		fileModule(),
		nomadAllocsModule(),
		nomadClientReadyModule(),
		nomadConfigModule(),
		nomadDrainModule(),
		nomadFactsModule(),
		nomadHealthModule(),
		nomadInstallModule(),
		nomadPreflightModule(),
		nomadRaftCheckModule(),
		nomadRaftProtocolModule(),
		nomadRecoverModule(),
		nomadRecoverCheckModule(),
		nomadRemoveServerModule(),
		nomadReplaceCheckModule(),
		nomadReplaceServersCheckModule(),
		nomadRetryJoinModule(),
		nomadServerHealthyModule(),
		nomadSnapshotModule(),
		nomadStageModule(),
		nomadStartModule(),
		nomadStopModule(),
		nomadSwapModule(),
		nomadTransferLeadershipModule(),
		pauseModule(),
		setFactModule(),
		shellModule(),
		slurpModule(),
		statModule(),
		systemdModule(),
		uriModule(),
		waitForModule(),
	}
}

// Builtin is the prefix of the collection that holds the modules every Ansible user has; it may be written and means nothing.
const Builtin = "ansible.builtin."

// Find returns the module with that name or alias, with or without Builtin in front.
func Find(name string) (*Module, bool) {
	module := Among(Table(), name)
	return module, module != nil
}

// Among is Find in a table that the caller holds; nil when it is not there.
func Among(table []Module, name string) *Module {
	short := strings.TrimPrefix(name, Builtin)
	for i := range table {
		if table[i].Name == short || slices.Contains(table[i].Aliases, short) {
			return &table[i]
		}
	}
	return nil
}

// Names lists the names and aliases of all modules.
func Names() []string {
	var names []string
	for _, module := range Table() {
		names = append(names, module.Name)
		names = append(names, module.Aliases...)
	}
	return names
}
