// SPDX-License-Identifier: MPL-2.0

package main

import "github.com/spf13/cobra"

func newEnterpriseCommand(s streams) *cobra.Command {
	u := &upgradeFlags{playbook: "enterprise", consent: consent{shows: "drover plan --enterprise"}}
	command := &cobra.Command{
		Use:   "enterprise --to VERSION+ent [--binary FILE | --binary-dir DIR | --mirror URL]",
		Short: "Bring a cluster from the community edition to Enterprise, in place",
		Long: `enterprise is an upgrade to an Enterprise binary: of the same version or a later one. The plan and the upgrade itself refuse that
everywhere else. Each server's licence is inspected by the new binary, on the server, before anything stops; where the server would
not start with it, nothing is stopped.

The licence has to be on every server first: license_path in the server block, or NOMAD_LICENSE_PATH or NOMAD_LICENSE in the unit's environment.

It is the ready playbook "enterprise" (drover playbook show enterprise).`,
		Example: `  drover enterprise -i hosts.ini --to 1.11.0+ent --binary nomad_1.11.0+ent_linux_amd64.zip`,
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return u.upgrade(c.Context(), s) },
	}
	u.register(command)
	u.consent.registerYes(command)
	return command
}
