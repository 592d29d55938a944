// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// settingOf finds every place that sets one of the keys.
func settingOf(keys ...string) func(*hostNotes) []string {
	return func(h *hostNotes) []string {
		var found []string
		for _, s := range h.settings {
			if slices.Contains(keys, s.Key) {
				found = append(found, s.sets())
			}
		}
		return found
	}
}

// setsIf finds what decides a key, where its value is of the kind that matters.
func setsIf(key string, matters func(value string) bool) func(*hostNotes) []string {
	return func(h *hostNotes) []string {
		if s, ok := Deciding(h.settings, key); ok && matters(s.Value) {
			return []string{s.sets()}
		}
		return nil
	}
}

func oldRaftProtocol(value string) bool { return value != "" && value != "0" && value != "3" }

func hasStar(value string) bool { return strings.Contains(value, "*") }

func isWAL(value string) bool { return value == "wal" }

// leavesForGood finds servers that leave when they are stopped and do not know where to come back to.
func leavesForGood(h *hostNotes) []string {
	rejoin, _ := Deciding(h.settings, "server.rejoin_after_leave")
	alone := len(h.RaftServers) == 1
	if !h.Leave.OnInterrupt && !h.Leave.OnTerminate || h.RetryJoin || rejoin.Value == "true" || alone {
		return nil
	}
	key := "leave_on_interrupt"
	if !h.Leave.OnInterrupt {
		key = "leave_on_terminate"
	}
	if s, ok := Deciding(h.settings, key); ok {
		return []string{s.sets() + " without a retry_join"}
	}
	return []string{"it has " + key + " and no retry_join"}
}

// vaultAccess finds settings, and variables of the unit, by which agents gave tasks access to Vault before workload identities.
func vaultAccess(h *hostNotes) []string {
	found := settingOf("vault.token", "vault.allow_unauthenticated", "vault.task_token_ttl")(h)
	if slices.Contains(h.Environment, "VAULT_TOKEN") {
		found = append(found, "the unit's environment has VAULT_TOKEN")
	}
	return found
}

// unnamedPlugins finds programs in the directory of plugins that no block names, by which Nomad 1.10 skips them.
func unnamedPlugins(h *hostNotes) []string {
	var found []string
	for _, s := range h.settings {
		name := strings.ToLower(strings.TrimSuffix(s.Value, ".exe"))
		if s.Key != KeyPluginFile || slices.ContainsFunc(h.settings, func(b Setting) bool { return b.Key == "plugin."+name }) {
			continue
		}
		found = append(found, fmt.Sprintf("%s in %s has no block plugin %q { } in the configuration", s.Value, s.File, strings.TrimSuffix(s.Value, ".exe")))
	}
	return found
}

// openDenylist finds lists of forbidden template functions that leave out the one that is new.
func openDenylist(h *hostNotes) []string {
	for _, key := range []string{"client.template.function_denylist", "client.template.function_blacklist"} {
		if s, ok := Deciding(h.settings, key); ok && !slices.Contains(strings.Split(s.Value, ","), "writeToFile") {
			return []string{fmt.Sprintf("%s sets %s without writeToFile", s.where(), key)}
		}
	}
	return nil
}

// awsBundle finds clients that Amazon's library keeps from starting, unless they do not look for Amazon at all.
func awsBundle(h *hostNotes) []string {
	if !slices.Contains(h.Environment, "AWS_CA_BUNDLE") {
		return nil
	}
	for _, key := range []string{"client.options.fingerprint.denylist", "client.options.fingerprint.blacklist"} {
		if s, ok := Deciding(h.settings, key); ok && slices.Contains(strings.Split(strings.ReplaceAll(s.Value, " ", ""), ","), "env_aws") {
			return nil
		}
	}
	return []string{"the unit's environment has AWS_CA_BUNDLE"}
}

func noLicence(h *hostNotes) []string {
	_, path := Deciding(h.settings, "server.license_path")
	if h.target.Edition() == "" || path || slices.Contains(h.Environment, "NOMAD_LICENSE") || slices.Contains(h.Environment, "NOMAD_LICENSE_PATH") {
		return nil
	}
	return []string{"neither license_path nor NOMAD_LICENSE or NOMAD_LICENSE_PATH in the unit's environment was found"}
}

func enterprise(h *hostNotes) []string {
	if h.target.Edition() == "" {
		return nil
	}
	return []string{"it is an Enterprise server"}
}

func is386(h *hostNotes) []string {
	if h.Architecture == "i386" || h.Architecture == "i586" || h.Architecture == "i686" {
		return []string{"its architecture is " + h.Architecture}
	}
	return nil
}

// clientsBelow names clients that are older than a release, whether the plan upgrades them or not.
func (s *Survey) clientsBelow(release string) []string {
	var names []string
	for _, facts := range sortFacts(s.Hosts) {
		if facts.Client && !facts.Server && facts.VersionRunning.Known() && !facts.VersionRunning.AtLeast(release) {
			names = append(names, facts.Host)
		}
	}
	return names
}

// clientsLeftBehind finds clients that the plan leaves below 1.11 beside servers of it.
func clientsLeftBehind(p *planner, s *Survey) []string {
	left := slices.DeleteFunc(s.clientsBelow("1.11.0"), func(host string) bool {
		step := p.stepOf(host)
		return step == nil || step.Action != ActionNone
	})
	if len(left) == 0 {
		return nil
	}
	return []string{"clients stay on an older version (" + firstOf(left) + ")"}
}

// oldBridges finds jobs with bridge networks beside clients that never told of their CNI plugins.
func oldBridges(_ *planner, s *Survey) []string {
	old, jobs := s.clientsBelow("1.5.0"), s.Notes.Jobs["bridge-1.8"]
	if len(old) == 0 || len(jobs) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("clients before 1.5 (%s) run beside jobs with bridge networks (%s)", firstOf(old), firstOf(jobs))}
}

func vaultCheck(_ *planner, s *Survey) []string {
	var found []string
	if n := s.Notes.OldVaultNodes; n > 0 {
		found = append(found, fmt.Sprintf("Nomad's own check counts %d clients too old for workload identities with Vault", n))
	}
	if n := s.Notes.VaultTokens; n > 0 {
		found = append(found, fmt.Sprintf("Nomad's own check counts %d Vault tokens that servers renew for running tasks", n))
	}
	return found
}

func namelessPolicies(_ *planner, s *Survey) []string {
	if len(s.Notes.Policies) == 0 {
		return nil
	}
	return []string{"ACL policies have a namespace block without a name (" + firstOf(s.Notes.Policies) + ")"}
}

// defaultMaxKillTimeout is client.max_kill_timeout where a client sets none (Nomad's documentation).
const defaultMaxKillTimeout = 30 * time.Second

// clampedKills finds jobs that ask for more time to end than a client to be upgraded will give.
func clampedKills(p *planner, s *Survey) []string {
	var limit time.Duration
	where := ""
	for _, facts := range sortFacts(s.Hosts) {
		step := p.stepOf(facts.Host)
		if step == nil || step.Action == ActionNone || !facts.Client {
			continue
		}
		mine, of := defaultMaxKillTimeout, "the default"
		set, _ := Deciding(facts.Settings, "client.max_kill_timeout")
		if own, err := time.ParseDuration(set.Value); err == nil {
			mine, of = own, "on "+facts.Host
		}
		if limit == 0 || mine < limit {
			limit, where = mine, of
		}
	}
	var names []string
	for _, name := range sortedKeys(s.Notes.KillTimeouts) {
		if timeout := s.Notes.KillTimeouts[name]; timeout > limit {
			names = append(names, fmt.Sprintf("%s (%s)", name, timeout))
		}
	}
	if len(names) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("jobs ask for a kill_timeout above max_kill_timeout (%s, %s): %s", limit, where, firstOf(names))}
}
