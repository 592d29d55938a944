// SPDX-License-Identifier: MPL-2.0

package nomad

// versionNotes are the rules of Nomad's upgrade notes (its upgrade guide up to 1.11.3, its changelog for 2.0) that can be
// decided by what drover sees. docs/version-notes.md lists them, and those that a person must check; a test compares the two.
func versionNotes() []note {
	notes := hostRules()
	notes = append(notes, clientRules()...)
	notes = append(notes, jobRules()...)
	return append(notes, clusterRules()...)
}

// hostRules look at the configuration of any agent, or of servers.
func hostRules() []note {
	return []note{
		{
			id: "metrics-1.0", since: "1.0.0", severity: noteFatal, on: anyAgent, looksAt: "telemetry.disable_tagged_metrics, telemetry.backwards_compatible_metrics",
			text: "Nomad 1.0 and later do not know it: released agents refuse to start with it", remedy: "delete the line, and see that dashboards use tagged metrics",
			host: settingOf("telemetry.disable_tagged_metrics", "telemetry.backwards_compatible_metrics"),
		},
		{
			id: "licence-1.1", since: "1.1.0", severity: noteRefuses, on: onServers, looksAt: "Enterprise: server.license_path, NOMAD_LICENSE and NOMAD_LICENSE_PATH of the unit",
			text: "Enterprise servers of Nomad 1.1 and later do not start without a licence", remedy: "set license_path in the server block, or NOMAD_LICENSE_PATH in the unit's environment", host: noLicence,
		},
		{
			id: "raft-protocol-1.4", since: "1.4.0", severity: noteFatal, on: onServers, looksAt: "server.raft_protocol, -raft-protocol",
			text: "Nomad 1.4 and later refuse to start with it", remedy: "delete the setting or set it to 3; a cluster that uses protocol 2 is migrated first (drover raft-v3)",
			host: setsIf("server.raft_protocol", oldRaftProtocol),
		},
		{
			id: "datacenter-1.5", since: "1.5.0", severity: noteFatal, on: anyAgent, looksAt: "datacenter, -dc: a * in the name",
			text: "Nomad 1.5 and later refuse to start with a * in the datacenter's name", remedy: "rename the datacenter, and in the jobs too", host: setsIf("datacenter", hasStar),
		},
		{
			id: "rejoin-1.5", since: "1.5.0", severity: noteRefuses, on: onServers, looksAt: "leave_on_interrupt, leave_on_terminate without retry_join or rejoin_after_leave",
			text:   "a server that has left does not come back by itself from Nomad 1.5 on",
			remedy: "add retry_join in server_join of the server block", host: leavesForGood,
		},
		{
			id: "architecture-1.6", since: "1.6.0", severity: noteFatal, once: true, on: anyAgent, looksAt: "the host's architecture: 386",
			text: "Nomad is not published for it from 1.6 on", remedy: "move the agent to a 64-bit system first", host: is386,
		},
		{
			id: "licence-expiry-1.6", since: "1.6.0", severity: noteWarns, on: onServers, looksAt: "Enterprise: that it is one",
			text: "from Nomad 1.6 on a licence must have been valid when the new binary was built", remedy: "run `nomad license inspect` with the new binary on a server", host: enterprise,
		},
		{
			id: "raw-exec-cgroups-1.8", since: "1.8.0", severity: noteFatal, on: anyAgent, looksAt: `no_cgroups in plugin "raw_exec"`,
			text: "Nomad 1.8 and later refuse to start with it (`config validate` does not see that)", remedy: "delete the line", host: settingOf("plugin.raw_exec.config.no_cgroups"),
		},
		{
			id: "tls-ciphers-1.9", since: "1.9.0", severity: noteFatal, on: anyAgent, looksAt: "tls.tls_prefer_server_cipher_suites",
			text: "Nomad 1.9 and later do not know it: released agents refuse to start with it", remedy: "delete the line", host: settingOf("tls.tls_prefer_server_cipher_suites"),
		},
		{
			id: "vault-token-1.10", since: "1.10.0", severity: noteRefuses, on: onServers, looksAt: "vault.token, vault.allow_unauthenticated, vault.task_token_ttl, VAULT_TOKEN of the unit",
			text:   "Nomad 1.10 and later ignore it without a word: tasks get secrets from Vault by workload identity only",
			remedy: "move to workload identities for Vault (Nomad 1.7 to 1.9 know both), then delete it", host: vaultAccess,
		},
		{
			id: "consul-unauthenticated-1.10", since: "1.10.0", severity: noteRefuses, on: onServers, looksAt: "consul.allow_unauthenticated",
			text: "Nomad 1.10 and later ignore it without a word", remedy: "move to workload identities for Consul (Nomad 1.7 to 1.9 know both), then delete the line", host: settingOf("consul.allow_unauthenticated"),
		},
		{
			id: "wal-2.0", since: "2.0.0", severity: noteFatal, once: true, on: onServers, looksAt: "server.raft_logstore.backend = wal beside the raft.db that older versions have written",
			text: "a server with a log of an older version refuses to start with it", remedy: "delete the line; after the upgrade, `nomad operator raft migrate-backend` changes the backend", host: setsIf("server.raft_logstore.backend", isWAL),
		},
	}
}

// clientRules look at the hosts of clients.
func clientRules() []note {
	return []note{
		{
			id: "nvidia-plugin-1.2", since: "1.2.0", severity: noteRefuses, on: onClients, looksAt: `plugin "nvidia-gpu"`,
			text: "Nomad 1.2 and later do not have that device plugin built in", remedy: "put nomad-device-nvidia into plugin_dir", host: settingOf("plugin.nvidia-gpu"),
		},
		{
			id: "template-denylist-1.3", since: "1.3.0", severity: noteRefuses, on: onClients, looksAt: "client.template.function_denylist (or function_blacklist) without writeToFile",
			text: "templates of Nomad 1.3 and later can write any file of the host with that function", remedy: `add "writeToFile" to the list`, host: openDenylist,
		},
		{
			id: "aws-bundle", since: "1.3.0", until: "1.10.5", severity: noteRefuses, on: onClients, looksAt: "AWS_CA_BUNDLE of the unit, unless fingerprint.denylist has env_aws",
			text:   "clients with it do not start (seen with 1.10.5 and later, and not with 1.2.6; `config validate` does not see it)",
			remedy: "take it out of the unit and its environment file, or put env_aws into fingerprint.denylist in the client's options", host: awsBundle,
		},
		{
			id: "plugin-block-1.10", since: "1.10.0", severity: noteRefuses, on: onClients, looksAt: `programs in plugin_dir without a block plugin "NAME"`,
			text: "Nomad 1.10 and later do not load such a plugin, so that the client loses its driver", remedy: "add the block, which may be empty", host: unnamedPlugins,
		},
	}
}

// jobRules look at each job.
func jobRules() []note {
	return []note{
		{
			id: "nvidia-1.2", since: "1.2.0", severity: noteRefuses, on: onClients, looksAt: "jobs: devices named nvidia...", jobs: "a device of nvidia",
			text: "Nomad 1.2 and later do not have that device plugin built in", remedy: "put nomad-device-nvidia into plugin_dir of the clients", job: anyTask(nvidiaDevice),
		},
		{
			id: "csi-1.3", since: "1.3.0", severity: noteWarns, on: onClients, looksAt: "jobs: csi_plugin", jobs: "a CSI plugin",
			text: "CSI plugins have to be started anew after an upgrade to 1.3", remedy: "redeploy them once the clients are upgraded", job: anyTask(func(_ *TaskGroup, t *Task) bool { return t.CSI != nil }),
		},
		{
			id: "constraints-1.4", since: "1.4.0", severity: noteWarns, on: onServers, looksAt: "jobs: constraints with <, <=, > or >=", jobs: "a constraint that compares",
			text: "Nomad 1.4 and later compare two numbers as numbers, no longer as text", remedy: "see that the result is the one meant", job: comparesOrder,
		},
		{
			id: "datacenters-1.5", since: "1.5.0", severity: noteWarns, on: onServers, looksAt: "jobs: datacenters with a *", jobs: "a * in datacenters",
			text: "Nomad 1.5 and later read it as any text", remedy: "name the datacenters", job: starDatacenter,
		},
		{
			id: "attributes-1.7", since: "1.7.0", severity: noteWarns, on: onClients, looksAt: "jobs: attributes unique.cgroup.version, unique.cgroup.mountpoint, cpu.numcores.power", jobs: "an attribute that goes away",
			text: "clients of Nomad 1.7 and later do not have it", remedy: "use os.cgroups.version, or drop it", job: usesAttribute("unique.cgroup.version", "unique.cgroup.mountpoint", "cpu.numcores.power"),
		},
		{
			id: "attributes-1.9.7", since: "1.9.7", severity: noteWarns, on: onClients, looksAt: "jobs: attributes consul.addr.dns, nomad.advertise.address", jobs: "an attribute that is renamed",
			text: "clients of Nomad 1.9.7 and later have it with unique. before its name", remedy: "use the new name", job: usesAttribute("consul.addr.dns", "nomad.advertise.address"),
		},
		{
			id: "vault-identity-1.10", since: "1.10.0", severity: noteRefuses, on: onServers, looksAt: "jobs: vault without an identity for it", jobs: "a vault block and no identity for it",
			text: "Nomad 1.10 and later give no token of Vault to such a task", remedy: "on 1.7 to 1.9, give the tasks an identity (or default_identity in the servers' vault block) and submit the jobs again", job: anyTask(vaultWithoutIdentity),
		},
		{
			id: "vault-policies-1.10", since: "1.10.0", severity: noteRefuses, on: onServers, looksAt: "jobs: vault.policies", jobs: "policies in a vault block",
			text: "Nomad 1.10 and later do not take them", remedy: "use a role of Vault and workload identity instead", job: anyTask(vaultPolicies),
		},
		{
			id: "disconnect-1.10", since: "1.10.0", severity: noteRefuses, on: onServers, looksAt: "jobs: max_client_disconnect, stop_after_client_disconnect, prevent_reschedule_on_lost",
			jobs: "max_client_disconnect, stop_after_client_disconnect or prevent_reschedule_on_lost", text: "Nomad 1.10 and later ignore them",
			remedy: "on 1.8 or 1.9, use the disconnect block and submit the jobs again", job: anyGroup(oldDisconnect),
		},
		{
			id: "ecs-1.10", since: "1.10.0", severity: noteRefuses, on: onClients, looksAt: "jobs: driver ecs", jobs: "the driver ecs",
			text: "Nomad 1.10 and later have no remote task drivers", remedy: "move them to another driver", job: anyTask(func(_ *TaskGroup, t *Task) bool { return t.Driver == "ecs" }),
		},
		{
			id: "consul-template-1.10", since: "1.10.0", severity: noteWarns, on: onServers, looksAt: "jobs: templates that read Consul's keys, without a consul block or identity", jobs: "a template that reads Consul's keys and no consul block",
			text: "from Nomad 1.10 on such a task gets no identity for Consul by itself", remedy: "add a consul block to the group or task", job: anyTask(consulWithoutIdentity),
		},
		{
			id: "sprig-1.10.2", since: "1.10.2", backports: []string{"1.9.10", "1.8.14"}, severity: noteWarns, on: onClients, looksAt: "jobs: templates with sprig functions for dates, chance, environment and names", jobs: "a template with a sprig function that goes away",
			text: "the template fails on clients of Nomad 1.10.2 and later", remedy: "write the template without it", job: anyTask(usesRemovedSprig),
		},
		{
			id: "alloc-task-1.11", since: "1.11.0", severity: noteRefuses, on: onServers, looksAt: "jobs: a task named alloc", jobs: "a task named alloc",
			text: "Nomad 1.11 and later do not take such a job when it is submitted again", remedy: "rename the task", job: anyTask(func(_ *TaskGroup, t *Task) bool { return t.Name == "alloc" }),
		},
		{
			id: "system-reschedule-1.11", since: "1.11.0", severity: noteWarns, on: onServers, looksAt: "jobs: reschedule in system and sysbatch jobs", jobs: "type system or sysbatch and a reschedule block",
			text: "Nomad 1.11 and later do not take such a job when it is submitted again", remedy: "delete the block", job: systemReschedules,
		},
		{
			id: "job-count-1.11", since: "1.11.0", severity: noteWarns, on: onServers, looksAt: "jobs: more than 50000 allocations wanted", jobs: "more than 50000 allocations",
			text: "Nomad 1.11 and later do not take such a job when it is submitted again", remedy: "raise server.job_max_count", job: largeCount,
		},
		{
			id: "system-deployments-1.11", since: "1.11.0", below: "1.11.3", severity: noteWarns, on: onServers, looksAt: "jobs: type system", jobs: "type system",
			text: "before Nomad 1.11.3 their deployments can hang while clients before 1.11 remain", remedy: "upgrade to 1.11.3 or later instead, or submit them again only when all clients are upgraded", job: systemJob,
		},
		{
			id: "docker-email-1.11.1", since: "1.11.1", severity: noteWarns, on: onClients, looksAt: "jobs: email in auth of docker tasks", jobs: "an email in auth of a docker task",
			text: "Nomad 1.11.1 and later do not know it", remedy: "delete it", job: anyTask(dockerEmail),
		},
		{
			id: "docker-modes-2.0.4", since: "2.0.4", severity: noteRefuses, on: onClients, looksAt: "jobs: docker tasks in a namespace of the host", jobs: "a docker task in a namespace of the host",
			text: "Nomad 2.0.4 and later start it only where the docker plugin allows that", remedy: `set allowed_modes or allow_privileged in plugin "docker" of the clients`, job: anyTask(dockerHostMode),
		},
	}
}

// clusterRules look at several things together.
func clusterRules() []note {
	return []note{
		{
			id: "kill-timeout-1.3.2", since: "1.3.2", backports: []string{"1.2.9"}, severity: noteWarns, on: onClients, looksAt: "jobs: kill_timeout; client.max_kill_timeout (default 30s)",
			text: "from Nomad 1.3.2 on a task is not given more", remedy: "raise max_kill_timeout in the client block first", cluster: clampedKills,
		},
		{
			id: "acl-namespace-1.5.7", since: "1.5.7", backports: []string{"1.4.11"}, severity: noteRefuses, on: onServers, looksAt: "ACL policies: namespace { } without a name",
			text: "from Nomad 1.4.11, 1.5.7 and 1.6 on tokens with such a policy do not work", remedy: `name the namespace: namespace "default" { }`, cluster: namelessPolicies,
		},
		{
			id: "bridge-1.8", since: "1.8.0", severity: noteRefuses, on: onServers, looksAt: "clients before 1.5 beside jobs with bridge networks", jobs: "a bridge network",
			text: "servers of Nomad 1.8 and later place such a job only on clients that tell of their CNI plugins, from 1.5 on", remedy: "upgrade those clients to 1.5 or later first",
			job: anyGroup(bridged), cluster: oldBridges,
		},
		{
			id: "vault-tokens-1.10", since: "1.10.0", severity: noteRefuses, on: onServers, looksAt: "Nomad's own check (1.7.3 to 1.9): clients too old, Vault tokens in use",
			text: "Nomad 1.10 and later know workload identities only", remedy: "finish the move: `nomad setup vault -check` lists them", cluster: vaultCheck,
		},
		{
			id: "client-identity-1.11", since: "1.11.0", below: "2.0.0", severity: noteWarns, on: onServers, looksAt: "clients that stay below 1.11 beside servers of it",
			text: "in 1.11 their identities may fail to renew (fixed in 2.0.0)", remedy: "upgrade the clients too", cluster: clientsLeftBehind,
		},
	}
}
