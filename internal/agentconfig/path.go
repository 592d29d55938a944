// SPDX-License-Identifier: MPL-2.0

package agentconfig

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Path names an attribute: blocks, labels and the key, as server, raft_protocol or plugin, raw_exec, config, enabled.
type Path []string

// maximumPath bounds the segments of a path.
const maximumPath = 16

// ParsePath reads a path such as server.raft_protocol. What follows client.options, client.meta and client.chroot_env is one key, dots
// included. A segment with dots of its own is quoted: plugin."my.driver".config.enabled.
func ParsePath(text string) (Path, error) {
	var path Path
	for rest := text; ; {
		segment, after, err := cutSegment(rest, path)
		if err != nil {
			return nil, fmt.Errorf("key %q: %w", text, err)
		}
		path = append(path, segment)
		if after == "" {
			return path, nil
		}
		if len(path) >= maximumPath {
			return nil, fmt.Errorf("key %q has more than %d parts", text, maximumPath)
		}
		rest = after[1:]
	}
}

// cutSegment takes the first segment off a text; after begins with the dot that follows.
func cutSegment(text string, before Path) (segment, after string, err error) {
	if strings.HasPrefix(text, `"`) {
		quoted, err := strconv.QuotedPrefix(text)
		if err != nil {
			return "", "", errors.New("a quotation mark is not closed")
		}
		if segment, err = strconv.Unquote(quoted); err != nil {
			return "", "", err
		}
		after = text[len(quoted):]
	} else if at := strings.IndexByte(text, '.'); at < 0 || before.isMap() {
		segment = text
	} else {
		segment, after = text[:at], text[at:]
	}
	switch {
	case segment == "":
		return "", "", errors.New("want names with dots between them, such as server.raft_protocol")
	case strings.ContainsFunc(segment, unicode.IsControl) || !utf8.ValidString(segment):
		return "", "", errors.New("it holds a control character or is not UTF-8")
	case after != "" && after[0] != '.':
		return "", "", errors.New("a dot is missing after a quoted name")
	}
	return segment, after, nil
}

// String writes the path as ParsePath reads it.
func (p Path) String() string {
	var b strings.Builder
	for i, segment := range p {
		if i > 0 {
			b.WriteByte('.')
		}
		if strings.ContainsAny(segment, ".\"") && !p[:i].isMap() {
			segment = strconv.Quote(segment)
		}
		b.WriteString(segment)
	}
	return b.String()
}

// Equal compares as Nomad's decoder does: without looking at the case, except for keys of maps and for labels of plugins.
func (p Path) Equal(other Path) bool {
	return len(p) == len(other) && p.startsWith(0, other)
}

// startsWith tells whether the segments from at on begin with names.
func (p Path) startsWith(at int, names []string) bool {
	if len(p)-at < len(names) {
		return false
	}
	for i, name := range names {
		exact := p[:at+i].isMap() || strings.EqualFold(p[0], "plugin") && at+i > 0
		if name != p[at+i] && (exact || !strings.EqualFold(name, p[at+i])) {
			return false
		}
	}
	return true
}

// isMap tells whether the block is a map, whose keys are the user's own.
func (p Path) isMap() bool { return p.among("client.options", "client.meta", "client.chroot_env") }

// labelled tells whether blocks of this name have a label.
func (p Path) labelled() bool {
	return p.among("plugin", "keyring", "client.host_volume", "client.host_network", "audit.sink", "audit.filter")
}

func (p Path) among(names ...string) bool {
	return slices.Contains(names, strings.ToLower(strings.Join(p, ".")))
}

// ZeroCounts tells whether false, 0 and "" of a later file override what an earlier file sets. For most keys they do not: Nomad's merge
// takes a zero for "not set". These are pointers or maps in Nomad's configuration (1.2.6 to 1.11.0).
func (p Path) ZeroCounts() bool {
	if len(p) > 1 && (p[:2].isMap() || strings.EqualFold(p[0], "plugin")) {
		return true
	}
	if len(p) == 3 && p[:2].among("client.artifact", "client.drain_on_shutdown") {
		return true
	}
	return p.among("disable_update_check",
		"client.no_host_uuid", "client.nomad_service_discovery", "client.users.dynamic_user_min", "client.users.dynamic_user_max",
		"server.raft_multiplier", "server.num_schedulers", "server.enable_event_broker", "server.event_buffer_size",
		"server.raft_snapshot_threshold", "server.raft_snapshot_interval", "server.raft_trailing_logs", "server.job_default_priority",
		"server.job_max_priority", "server.job_max_count", "server.job_max_source_size", "server.job_tracked_versions",
		"server.plan_rejection_tracker.enabled",
		"telemetry.filter_default", "telemetry.disable_allocation_hook_metrics", "audit.enabled", "ui.show_cli_hints", "reporting.license.enabled",
		"autopilot.cleanup_dead_servers", "autopilot.enable_redundancy_zones", "autopilot.disable_upgrade_migration", "autopilot.enable_custom_upgrades",
		"consul.auto_advertise", "consul.checks_use_advertise", "consul.allow_unauthenticated", "consul.ssl", "consul.share_ssl",
		"consul.verify_ssl", "consul.server_auto_join", "consul.client_auto_join",
		"limits.http_max_conns_per_client", "limits.rpc_max_conns_per_client",
		"vault.enabled", "vault.allow_unauthenticated", "vault.tls_skip_verify")
}
