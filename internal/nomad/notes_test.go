// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// noteSurvey is the cluster of survey() at one version.
func noteSurvey(at string) Survey {
	s := survey()
	for i := range s.Hosts {
		s.Hosts[i].VersionRunning, s.Hosts[i].VersionDisk = version(at), version(at)
	}
	return s
}

// noted is what notes say of a survey: problems and warnings, by the words of the plan; "!" marks problems.
func noted(s Survey, to string, options Options) []string {
	p := planner{plan: emptyPlan(version(to), nil), target: version(to), options: options}
	for _, facts := range sortFacts(s.Hosts) {
		step := Step{Host: facts.Host, Role: facts.Role, From: facts.VersionRunning, Action: ActionUpgrade}
		if options.leavesOut(facts.Host) || options.Servers && !facts.Server || options.Clients && facts.Server {
			step.Action = ActionNone
		}
		p.plan.Steps = append(p.plan.Steps, step)
	}
	p.notes(s)
	said := []string{}
	for _, problem := range p.plan.Problems {
		said = append(said, "! "+problem.String())
	}
	for _, warning := range p.plan.Warnings {
		said = append(said, warning.String())
	}
	for _, risk := range p.plan.Accepted {
		said = append(said, risk.Flag+": "+risk.What)
	}
	for _, step := range p.plan.Steps {
		if step.Action == ActionRefused {
			said = append(said, step.Host+" is refused")
		}
	}
	return said
}

func configured(host int, text string) func(*Survey) {
	return func(s *Survey) {
		s.Hosts[host].Settings = append(s.Hosts[host].Settings, ReadSettings("/etc/nomad.d/nomad.hcl", []byte(text))...)
	}
}

func withEnvironment(host int, names ...string) func(*Survey) {
	return func(s *Survey) { s.Hosts[host].Environment = names }
}

func withJob(text string) func(*Survey) {
	return func(s *Survey) {
		var job Job
		if err := json.Unmarshal([]byte(text), &job); err != nil {
			panic(err)
		}
		s.Notes.Add(&job)
	}
}

// withTask is a job with one task of these fields.
func withTask(fields string) func(*Survey) {
	return withJob(`{"ID":"web","Namespace":"default","Type":"service","TaskGroups":[{"Name":"g","Count":1,"Tasks":[{"Name":"t",` + fields + `}]}]}`)
}

// withGroup is a job of a type with one group of these fields.
func withGroup(kind, fields string) func(*Survey) {
	return withJob(fmt.Sprintf(`{"ID":"web","Namespace":"default","Type":%q,"TaskGroups":[{"Name":"g",%s}]}`, kind, fields))
}

func all(changes ...func(*Survey)) func(*Survey) {
	return func(s *Survey) {
		for _, change := range changes {
			change(s)
		}
	}
}

type noteCase struct {
	id       string
	change   func(*Survey) // so that the note applies
	harmless func(*Survey) // the nearest thing with which it does not
	from, to string        // crosses the boundary
	want     string        // of the words
	certain  bool          // it cannot be accepted
	warns    bool
}

// Hosts of survey(): 0 to 2 are the servers s1 to s3, 3 and 4 the clients c2 and c1.
func noteCases() []noteCase {
	return []noteCase{
		{id: "metrics-1.0", change: configured(3, "telemetry {\n disable_tagged_metrics = true }"), harmless: configured(3, "telemetry { prometheus_metrics = true }"), from: "0.12.9", to: "1.0.0", want: "! c2: /etc/nomad.d/nomad.hcl:2 sets telemetry.disable_tagged_metrics = true, and", certain: true},
		{id: "licence-1.1", change: func(*Survey) {}, harmless: all(configured(0, `server { license_path = "/l" }`), withEnvironment(1, "NOMAD_LICENSE"), withEnvironment(2, "NOMAD_LICENSE_PATH")), from: "1.0.9+ent", to: "1.1.0+ent", want: "! s1: neither license_path"},
		{id: "raft-protocol-1.4", change: configured(0, "server {\n raft_protocol = 2 }"), harmless: configured(0, "server { raft_protocol = 2\n raft_protocol = 3 }"), from: "1.3.9", to: "1.4.4", want: "! s1: /etc/nomad.d/nomad.hcl:2 sets raft_protocol = 2, and Nomad 1.4 and later refuse to start with it", certain: true},
		{id: "datacenter-1.5", change: configured(4, `datacenter = "dc*"`), harmless: configured(4, `datacenter = "dc1"`), from: "1.4.6", to: "1.5.6", want: "! c1: /etc/nomad.d/nomad.hcl:1 sets datacenter = dc*", certain: true},
		{id: "rejoin-1.5", change: func(s *Survey) { s.Hosts[0].Leave.OnTerminate, s.Hosts[0].RetryJoin = true, false }, harmless: func(s *Survey) { s.Hosts[0].Leave.OnTerminate, s.Hosts[0].RetryJoin = true, true }, from: "1.4.6", to: "1.5.6", want: "! s1: it has leave_on_terminate and no retry_join"},
		{id: "architecture-1.6", change: func(s *Survey) { s.Hosts[3].Architecture = "i686" }, harmless: func(s *Survey) { s.Hosts[3].Architecture = "x86_64" }, from: "1.5.6", to: "1.6.0", want: "! c2: its architecture is i686", certain: true},
		{id: "licence-expiry-1.6", change: func(*Survey) {}, from: "1.5.6+ent", to: "1.6.0+ent", want: "s1: it is an Enterprise server", warns: true},
		{id: "raw-exec-cgroups-1.8", change: configured(3, "plugin \"raw_exec\" {\n config {\n no_cgroups = true } }"), harmless: configured(3, `plugin "raw_exec" { config { enabled = true } }`), from: "1.7.7", to: "1.8.0", want: "! c2: /etc/nomad.d/nomad.hcl:3 sets plugin.raw_exec.config.no_cgroups = true", certain: true},
		{id: "tls-ciphers-1.9", change: configured(0, `{"tls": {"tls_prefer_server_cipher_suites": true}}`), harmless: configured(0, `{"tls": {"http": true}}`), from: "1.8.4", to: "1.9.0", want: "! s1: /etc/nomad.d/nomad.hcl:1 sets tls.tls_prefer_server_cipher_suites", certain: true},
		{id: "vault-token-1.10", change: configured(0, `vault { token = "s.hidden" }`), harmless: all(configured(0, `vault { address = "x" }`), configured(3, `vault { token = "s.hidden" }`)), from: "1.9.7", to: "1.10.0", want: "! s1: /etc/nomad.d/nomad.hcl:1 sets vault.token, and"},
		{id: "vault-token-1.10", change: configured(1, `vault { allow_unauthenticated = false }`), from: "1.9.7", to: "1.10.0", want: "! s2: /etc/nomad.d/nomad.hcl:1 sets vault.allow_unauthenticated = false"},
		{id: "vault-token-1.10", change: withEnvironment(1, "VAULT_TOKEN"), harmless: withEnvironment(1, "VAULT_ADDR"), from: "1.9.7", to: "1.10.0", want: "! s2: the unit's environment has VAULT_TOKEN"},
		{id: "consul-unauthenticated-1.10", change: configured(0, `consul { allow_unauthenticated = true }`), harmless: configured(0, `consul { address = "x" }`), from: "1.9.7", to: "1.10.0", want: "! s1: /etc/nomad.d/nomad.hcl:1 sets consul.allow_unauthenticated = true"},
		{id: "wal-2.0", change: configured(0, `server { raft_logstore { backend = "wal" } }`), harmless: configured(0, `server { raft_logstore { backend = "boltdb" } }`), from: "1.11.0", to: "2.0.0", want: "! s1: /etc/nomad.d/nomad.hcl:1 sets raft_logstore.backend = wal", certain: true},
		{id: "nvidia-plugin-1.2", change: configured(3, `plugin "nvidia-gpu" { }`), harmless: configured(3, `plugin "docker" { }`), from: "1.1.9", to: "1.2.0", want: "! c2: /etc/nomad.d/nomad.hcl:1 sets plugin.nvidia-gpu"},
		{id: "template-denylist-1.3", change: configured(3, `client { template { function_denylist = ["plugin"] } }`), harmless: configured(3, `client { template { function_denylist = ["plugin", "writeToFile"] } }`), from: "1.2.9", to: "1.3.2", want: "! c2: /etc/nomad.d/nomad.hcl:1 sets client.template.function_denylist without writeToFile"},
		{id: "aws-bundle", change: withEnvironment(3, "AWS_CA_BUNDLE"), harmless: all(withEnvironment(3, "AWS_CA_BUNDLE"), configured(3, `client { options = { "fingerprint.denylist" = "env_gce, env_aws" } }`)), from: "1.8.4", to: "1.10.5", want: "! c2: the unit's environment has AWS_CA_BUNDLE"},
		{
			id: "plugin-block-1.10", change: func(s *Survey) {
				s.Hosts[3].Settings = []Setting{{Key: KeyPluginFile, Value: "nomad-driver-podman", File: "/opt/plugins"}}
			},
			harmless: func(s *Survey) {
				s.Hosts[3].Settings = []Setting{{Key: KeyPluginFile, Value: "podman", File: "/opt/plugins"}, {Key: "plugin.podman"}}
			},
			from: "1.9.7", to: "1.10.0", want: `! c2: nomad-driver-podman in /opt/plugins has no block plugin "nomad-driver-podman" { }`,
		},
		{id: "nvidia-1.2", change: withTask(`"Resources":{"Devices":[{"Name":"nvidia/gpu"}]}`), harmless: withTask(`"Resources":{"Devices":[{"Name":"amd/gpu"}]}`), from: "1.1.9", to: "1.2.0", want: "! there is 1 job with a device of nvidia, and Nomad 1.2 and later do not have that device plugin built in: default/web (task t)"},
		{id: "csi-1.3", change: withTask(`"CSIPluginConfig":{"ID":"x"}`), harmless: withTask(`"CSIPluginConfig":null`), from: "1.2.9", to: "1.3.2", want: "there is 1 job with a CSI plugin", warns: true},
		{id: "constraints-1.4", change: withTask(`"Constraints":[{"LTarget":"${attr.x}","Operand":">=","RTarget":"10"}]`), harmless: withTask(`"Constraints":[{"LTarget":"${attr.x}","Operand":"=","RTarget":"10"}]`), from: "1.3.9", to: "1.4.4", want: "default/web (${attr.x} >= 10)", warns: true},
		{id: "datacenters-1.5", change: withJob(`{"ID":"web","Namespace":"default","Datacenters":["dc*"]}`), harmless: withJob(`{"ID":"web","Namespace":"default","Datacenters":["dc1"]}`), from: "1.4.6", to: "1.5.6", want: "default/web (datacenter dc*)", warns: true},
		{id: "attributes-1.7", change: withTask(`"Affinities":[{"LTarget":"${attr.unique.cgroup.version}","Operand":"=","RTarget":"v2"}]`), harmless: withTask(`"Affinities":[{"LTarget":"${attr.os.cgroups.version}","Operand":"=","RTarget":"2"}]`), from: "1.6.9", to: "1.7.5", want: "default/web (unique.cgroup.version)", warns: true},
		{id: "attributes-1.9.7", change: withTask(`"Spreads":[{"Attribute":"${attr.nomad.advertise.address}"}]`), harmless: withTask(`"Spreads":[{"Attribute":"${attr.unique.advertise.address}"}]`), from: "1.9.6", to: "1.9.7", want: "default/web (nomad.advertise.address)", warns: true},
		{id: "vault-identity-1.10", change: withTask(`"Vault":{"Role":"x"}`), harmless: withTask(`"Vault":{"Role":"x"},"Identities":[{"Name":"vault_default"}]`), from: "1.9.7", to: "1.10.0", want: "! there is 1 job with a vault block and no identity for it"},
		{id: "vault-policies-1.10", change: withTask(`"Vault":{"Policies":["x"]},"Identities":[{"Name":"vault_default"}]`), harmless: withTask(`"Vault":{"Policies":[]},"Identities":[{"Name":"vault_default"}]`), from: "1.9.7", to: "1.10.0", want: "! there is 1 job with policies in a vault block"},
		{id: "disconnect-1.10", change: withGroup("service", `"MaxClientDisconnect":3600000000000`), harmless: withGroup("service", `"MaxClientDisconnect":null,"PreventRescheduleOnLost":false`), from: "1.9.7", to: "1.10.0", want: "default/web (group g)"},
		{id: "disconnect-1.10", change: withGroup("service", `"StopAfterClientDisconnect":3600000000000`), from: "1.9.7", to: "1.10.0", want: "default/web (group g)"},
		{id: "disconnect-1.10", change: withGroup("service", `"PreventRescheduleOnLost":true`), from: "1.9.7", to: "1.10.0", want: "default/web (group g)"},
		{id: "ecs-1.10", change: withTask(`"Driver":"ecs"`), harmless: withTask(`"Driver":"docker"`), from: "1.9.7", to: "1.10.0", want: "! there is 1 job with the driver ecs"},
		{id: "consul-template-1.10", change: withTask(`"Templates":[{"EmbeddedTmpl":"x={{ keyOrDefault \"a\" \"b\" }}"}]`), harmless: withTask(`"Consul":{},"Templates":[{"EmbeddedTmpl":"x={{ key \"a\" }}"}]`), from: "1.9.7", to: "1.10.0", want: "there is 1 job with a template that reads", warns: true},
		{id: "sprig-1.10.2", change: withTask(`"Templates":[{"EmbeddedTmpl":"{{ sprig_uuidv4 }}"}]`), harmless: withTask(`"Templates":[{"EmbeddedTmpl":"{{ sprig_upper \"x\" }}"}]`), from: "1.10.1", to: "1.10.2", want: "there is 1 job with a template with a sprig function", warns: true},
		{id: "alloc-task-1.11", change: withJob(`{"ID":"web","Namespace":"default","TaskGroups":[{"Tasks":[{"Name":"alloc"}]}]}`), harmless: withTask(`"Driver":"exec"`), from: "1.10.5", to: "1.11.3", want: "! there is 1 job with a task named alloc, and Nomad 1.11 and later do not take such a job when it is submitted again: default/web (task alloc) (rename the task; or go on as it is with --accept-note alloc-task-1.11)"},
		{id: "system-reschedule-1.11", change: withGroup("sysbatch", `"ReschedulePolicy":{"Attempts":1}`), harmless: withGroup("sysbatch", `"ReschedulePolicy":{"Attempts":0,"Unlimited":false}`), from: "1.10.5", to: "1.11.3", want: "default/web (group g)", warns: true},
		{id: "job-count-1.11", change: withGroup("batch", `"Count":50001`), harmless: withGroup("batch", `"Count":50000`), from: "1.10.5", to: "1.11.3", want: "default/web (50001 in all)", warns: true},
		{id: "system-deployments-1.11", change: withGroup("system", `"Count":1`), harmless: withGroup("service", `"Count":1`), from: "1.10.5", to: "1.11.2", want: "default/web (system)", warns: true},
		{id: "docker-email-1.11.1", change: withTask(`"Driver":"docker","Config":{"auth":[{"email":"x"}]}`), harmless: withTask(`"Driver":"docker","Config":{"auth":[{"username":"x"}]}`), from: "1.11.0", to: "1.11.3", want: "there is 1 job with an email", warns: true},
		{id: "docker-modes-2.0.4", change: withTask(`"Driver":"docker","Config":{"pid_mode":"host"}`), harmless: withTask(`"Driver":"docker","Config":{"pid_mode":"private"}`), from: "2.0.3", to: "2.0.4", want: "! there is 1 job with a docker task in a namespace of the host"},
		{id: "kill-timeout-1.3.2", change: withTask(`"KillTimeout":60000000000`), harmless: all(withTask(`"KillTimeout":60000000000`), configured(3, `client { max_kill_timeout = "60s" }`), configured(4, `client { max_kill_timeout = "60s" }`)), from: "1.3.1", to: "1.3.2", want: "jobs ask for a kill_timeout above max_kill_timeout (30s, the default): default/web (1m0s)", warns: true},
		{id: "acl-namespace-1.5.7", change: func(s *Survey) { s.Notes.Policies = []string{"dev"} }, harmless: func(*Survey) {}, from: "1.5.6", to: "1.5.7", want: "! ACL policies have a namespace block without a name (dev)"},
		{id: "bridge-1.8", change: all(withGroup("service", `"Networks":[{"Mode":"bridge"}]`), func(s *Survey) { s.Hosts[3].VersionRunning = version("1.4.6") }), harmless: withGroup("service", `"Networks":[{"Mode":"bridge"}]`), from: "1.7.7", to: "1.8.0", want: "! clients before 1.5 (c2) run beside jobs with bridge networks (default/web (group g))"},
		{id: "vault-tokens-1.10", change: func(s *Survey) { s.Notes.VaultTokens, s.Notes.OldVaultNodes = 3, 1 }, harmless: func(*Survey) {}, from: "1.9.7", to: "1.10.0", want: "! Nomad's own check counts 3 Vault tokens"},
	}
}

// onlyOf leaves what one note has said.
func onlyOf(n *note, said []string) []string {
	return slices.DeleteFunc(said, func(line string) bool { return !strings.Contains(line, n.remedy) })
}

func TestVersionNotes(t *testing.T) {
	covered := map[string]bool{"client-identity-1.11": true} // has its own test
	for i, c := range noteCases() {
		covered[c.id] = true
		t.Run(fmt.Sprintf("%s %d", c.id, i), func(t *testing.T) {
			known := versionNotes()
			n := &known[slices.IndexFunc(known, func(n note) bool { return n.id == c.id })]
			s := noteSurvey(c.from)
			c.change(&s)
			said := onlyOf(n, noted(s, c.to, Options{}))
			if len(said) == 0 || !slices.ContainsFunc(said, func(line string) bool { return strings.Contains(line, c.want) }) {
				t.Errorf("said %q, want %q", said, c.want)
			}
			for _, line := range said {
				if strings.HasPrefix(line, "! ") == c.warns {
					t.Errorf("warns: %v, said %q", c.warns, line)
				}
				if strings.Contains(line, "--accept-note") == (c.certain || c.warns) {
					t.Errorf("certain: %v, said %q", c.certain, line)
				}
				if strings.Contains(line, "s.hidden") {
					t.Errorf("a secret: %q", line)
				}
			}
			c.accepted(t, s)
			for name, past := range map[string][2]string{"not yet": {c.from, c.from}, "past it": {c.to, c.to}} {
				other := noteSurvey(past[0])
				c.change(&other)
				// What keeps every later version from starting stands in the way of each restart.
				again := name == "past it" && n.severity == noteFatal && !n.once
				if said := onlyOf(n, noted(other, past[1], Options{})); len(said) > 0 != again {
					t.Errorf("%s: %q", name, said)
				}
			}
			if c.harmless != nil {
				other := noteSurvey(c.from)
				c.harmless(&other)
				if said := onlyOf(n, noted(other, c.to, Options{})); len(said) > 0 {
					t.Errorf("harmless, and said %q", said)
				}
			}
		})
	}
	for _, n := range versionNotes() {
		if !covered[n.id] {
			t.Errorf("the note %s has no case", n.id)
		}
	}
}

// accepted tries the way on.
func (c *noteCase) accepted(t *testing.T, s Survey) {
	t.Helper()
	said := noted(s, c.to, Options{AcceptNotes: []string{c.id}})
	refused := strings.Contains(strings.Join(said, "\n"), "cannot be accepted")
	if refused != c.certain {
		t.Errorf("cannot be accepted: %v, said %q", refused, said)
	}
	if !c.certain && !c.warns && !slices.ContainsFunc(said, func(line string) bool { return strings.HasPrefix(line, "--accept-note "+c.id+": ") }) {
		t.Errorf("what was accepted is not said: %q", said)
	}
}

func TestNotesOfClientsLeftBehind(t *testing.T) {
	s := noteSurvey("1.10.5")
	if said := noted(s, "1.11.3", Options{}); len(said) > 0 {
		t.Errorf("all are upgraded: %q", said)
	}
	want := []string{"clients stay on an older version (c1, c2), and in 1.11 their identities may fail to renew (fixed in 2.0.0) (upgrade the clients too)"}
	if diff := cmp.Diff(want, noted(s, "1.11.3", Options{Servers: true})); diff != "" {
		t.Error(diff)
	}
	if said := noted(s, "2.0.0", Options{Servers: true}); len(said) > 0 {
		t.Errorf("fixed there: %q", said)
	}
}

func TestNotesConcernOnlyWhatIsUpgraded(t *testing.T) {
	s := noteSurvey("1.9.7")
	configured(0, `vault { token = "s.hidden" }`)(&s)
	withTask(`"Vault":{"Policies":["x"]}`)(&s)
	if said := noted(s, "1.10.5", Options{Clients: true}); len(said) > 0 {
		t.Errorf("only clients are upgraded: %q", said)
	}
	said := noted(s, "1.10.5", Options{Hosts: []string{"s2"}})
	if words := strings.Join(said, "\n"); strings.Contains(words, "vault.token") || !strings.Contains(words, "policies in a vault block") {
		t.Errorf("only s2 is upgraded: %s", words)
	}
}

func TestNotesOfJobsCountFromTheOldest(t *testing.T) {
	for newest := range 3 {
		s := noteSurvey("1.9.7")
		s.Hosts[newest].VersionRunning = version("1.10.0")
		withTask(`"Vault":{"Policies":["x"]},"Identities":[{"Name":"vault_default"}]`)(&s)
		if said := noted(s, "1.10.5", Options{}); len(said) != 1 {
			t.Errorf("host %d was upgraded before: %q", newest, said)
		}
	}
}

func TestNotesOfKillTimeoutsTakeTheLowest(t *testing.T) {
	for lowest := 3; lowest <= 4; lowest++ {
		s := noteSurvey("1.3.1")
		configured(lowest, `client { max_kill_timeout = "40s" }`)(&s)
		configured(7-lowest, `client { max_kill_timeout = "90s" }`)(&s)
		withTask(`"KillTimeout":60000000000`)(&s)
		if said := noted(s, "1.3.2", Options{}); len(said) != 1 || !strings.Contains(said[0], "(40s, on "+s.Hosts[lowest].Host+")") {
			t.Errorf("%q", said)
		}
	}
}

func TestNotesLetASingleServerLeave(t *testing.T) {
	s := noteSurvey("1.4.6")
	s.Hosts = s.Hosts[:1]
	s.Hosts[0].Leave.OnInterrupt, s.Hosts[0].RetryJoin, s.Hosts[0].RaftServers = true, false, s.Hosts[0].RaftServers[:1]
	if said := noted(s, "1.5.6", Options{}); len(said) > 0 {
		t.Errorf("there is nobody to join: %q", said)
	}
}

func TestNotesRefuseTheHost(t *testing.T) {
	s := noteSurvey("1.7.7")
	configured(3, `plugin "raw_exec" { config { no_cgroups = true } }`)(&s)
	if said := noted(s, "1.8.0", Options{}); !slices.Contains(said, "c2 is refused") || slices.Contains(said, "c1 is refused") {
		t.Errorf("%q", said)
	}
}

func TestNotesOfManyHostsShareALine(t *testing.T) {
	s := noteSurvey("1.7.7")
	for i := range 40 {
		f := s.Hosts[3]
		f.Host = fmt.Sprintf("d%02d", i)
		f.Settings = ReadSettings("/etc/nomad.d/nomad.hcl", []byte(`plugin "raw_exec" { config { no_cgroups = true } }`))
		s.Hosts = append(s.Hosts, f)
	}
	said := noted(s, "1.8.0", Options{})
	if !strings.HasPrefix(said[0], "! d00, d01, d02, d03, d04, d05, d06, d07, d08, d09 and 30 more: /etc/nomad.d/nomad.hcl:1 sets") || strings.HasPrefix(said[1], "!") {
		t.Errorf("%q", said)
	}
	if !slices.Contains(said, "d39 is refused") {
		t.Errorf("%q", said)
	}
}

func TestNotesOfFlags(t *testing.T) {
	s := noteSurvey("1.3.9")
	configured(0, `server { raft_protocol = 3 }`)(&s)
	s.Hosts[0].UnitSettings.ExecStart = []string{"/usr/bin/nomad", "agent", "-raft-protocol", "2"}
	said := noted(s, "1.4.4", Options{})
	if len(said) == 0 || !strings.HasPrefix(said[0], "! s1: the unit's ExecStart sets raft_protocol = 2, and") {
		t.Errorf("%q", said)
	}
}

func TestNotesKnowBackports(t *testing.T) {
	for upgrade, want := range map[[2]string]bool{
		{"1.5.6", "1.5.7"}: true, {"1.4.10", "1.4.11"}: true, {"1.4.11", "1.5.7"}: false, {"1.5.7", "1.6.0"}: false, {"1.5.6", "1.6.0"}: true, {"1.3.9", "1.4.10"}: false, {"", "1.6.0"}: true,
	} {
		s := noteSurvey("1.5.6")
		for i := range s.Hosts {
			s.Hosts[i].VersionRunning = Version{}
			if upgrade[0] != "" {
				s.Hosts[i].VersionRunning = version(upgrade[0])
			}
		}
		s.Notes.Policies = []string{"dev"}
		if got := len(noted(s, upgrade[1], Options{})) > 0; got != want {
			t.Errorf("%v: %v", upgrade, got)
		}
	}
}

func TestNotesSayWhatTheyCouldNotRead(t *testing.T) {
	s := noteSurvey("1.10.5")
	configured(0, "server {\n raft_protocol = }")(&s)
	s.Notes.Unread = []string{"3000 of 5000 jobs, since only 2000 are looked at"}
	said := strings.Join(noted(s, "1.11.3", Options{AcceptNotes: []string{"vault"}}), "\n")
	for _, want := range []string{
		"s1: /etc/nomad.d/nomad.hcl:2 cannot be read as configuration from there on", "not compared with Nomad's upgrade notes: 3000 of 5000 jobs", "! --accept-note vault: there is no such note",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("no %q in\n%s", want, said)
		}
	}
}

func TestJobsAreCounted(t *testing.T) {
	s := noteSurvey("1.10.5")
	for i := range 12 {
		withJob(fmt.Sprintf(`{"ID":"web%02d","Namespace":"default","TaskGroups":[{"Tasks":[{"Name":"alloc"}]}]}`, 11-i))(&s)
	}
	said := noted(s, "1.11.3", Options{})
	if len(said) != 1 || !strings.HasPrefix(said[0], "! there are 12 jobs with a task named alloc, and") || !strings.Contains(said[0], "default/web00 (task alloc), default/web01") || !strings.Contains(said[0], "default/web09 (task alloc) and 2 more") {
		t.Errorf("%q", said)
	}
}

// TestVersionNotesAreDocumented holds the table of docs/version-notes.md to the rules.
func TestVersionNotesAreDocumented(t *testing.T) {
	content, err := os.ReadFile("../../docs/version-notes.md")
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	table.WriteString("| Note | From | Of | In the plan | What is looked at | What to do |\n|---|---|---|---|---|---|\n")
	for _, n := range versionNotes() {
		since := strings.Join(append([]string{n.since}, n.backports...), ", ")
		if n.until != "" {
			since += " to " + n.until
		}
		if n.below != "" {
			since += ", until " + n.below
		}
		looksAt := strings.ReplaceAll(n.looksAt, "*", "`*`")
		fmt.Fprintf(&table, "| %s | %s | %s | %s | %s | %s |\n", n.id, since, n.on, n.severity, looksAt, n.remedy)
	}
	if !strings.Contains(string(content), table.String()) {
		t.Errorf("docs/version-notes.md does not hold the table of the rules, which is:\n%s", table.String())
	}
}

func TestVersionNotesAreWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, n := range versionNotes() {
		kinds := 0
		for _, is := range []bool{n.host != nil, n.job != nil && n.cluster == nil, n.cluster != nil} {
			if is {
				kinds++
			}
		}
		if seen[n.id] || kinds != 1 || n.text == "" || n.remedy == "" || n.looksAt == "" || n.job != nil && n.jobs == "" {
			t.Errorf("the note %s is there twice, or not whole", n.id)
		}
		seen[n.id] = true
		for _, release := range append([]string{n.since}, n.backports...) {
			if _, err := ParseVersion(release); err != nil {
				t.Errorf("%s: %v", n.id, err)
			}
		}
	}
}
