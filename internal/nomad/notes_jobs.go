// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Job is the part of a job that version notes speak of, in the form of Nomad's API; durations are nanoseconds.
type Job struct {
	ID, Namespace, Type string
	Datacenters         []string
	TaskGroups          []TaskGroup
	placement
}

// TaskGroup is a group of a Job.
type TaskGroup struct {
	Name                      string
	Count                     int
	MaxClientDisconnect       *time.Duration
	StopAfterClientDisconnect *time.Duration
	PreventRescheduleOnLost   bool
	ReschedulePolicy          *struct {
		Attempts  int
		Unlimited bool
	}
	Networks []struct{ Mode string }
	Consul   *struct{}
	Tasks    []Task
	placement
}

// Task is a task of a TaskGroup.
type Task struct {
	Name, Driver string
	KillTimeout  time.Duration
	Config       map[string]any
	Vault        *struct{ Policies []string }
	Consul       *struct{}
	Identities   []struct{ Name string }
	Templates    []struct{ EmbeddedTmpl string }
	Resources    *struct{ Devices []struct{ Name string } }
	CSI          *struct{} `json:"CSIPluginConfig"`
	placement
}

// placement is what says where allocations may go.
type placement struct {
	Constraints, Affinities []struct{ LTarget, RTarget, Operand string }
	Spreads                 []struct{ Attribute string }
}

// Name is how a person finds the job.
func (j *Job) Name() string { return j.Namespace + "/" + j.ID }

// Add looks at one job for all notes.
func (c *ClusterNotes) Add(j *Job) {
	if c.Jobs == nil {
		c.Jobs, c.KillTimeouts = map[string][]string{}, map[string]time.Duration{}
	}
	for _, n := range versionNotes() {
		if n.job == nil {
			continue
		}
		if what := n.job(j); what != "" {
			names := append(c.Jobs[n.id], fmt.Sprintf("%s (%s)", j.Name(), what))
			slices.Sort(names)
			c.Jobs[n.id] = names
		}
	}
	anyTask(func(_ *TaskGroup, t *Task) bool {
		if t.KillTimeout > defaultKillTimeout {
			c.KillTimeouts[j.Name()] = max(c.KillTimeouts[j.Name()], t.KillTimeout)
		}
		return false
	})(j)
}

// defaultKillTimeout is a task's kill_timeout where the job sets none.
const defaultKillTimeout = 5 * time.Second

// anyTask names the first task of which something is so.
func anyTask(is func(*TaskGroup, *Task) bool) func(*Job) string {
	return func(j *Job) string {
		for g := range j.TaskGroups {
			for t := range j.TaskGroups[g].Tasks {
				if task := &j.TaskGroups[g].Tasks[t]; is(&j.TaskGroups[g], task) {
					return "task " + task.Name
				}
			}
		}
		return ""
	}
}

// anyGroup names the first group of which something is so.
func anyGroup(is func(*TaskGroup) bool) func(*Job) string {
	return func(j *Job) string {
		for g := range j.TaskGroups {
			if is(&j.TaskGroups[g]) {
				return "group " + j.TaskGroups[g].Name
			}
		}
		return ""
	}
}

// places calls do for the job's own placement and those of its groups and tasks.
func (j *Job) places(do func(*placement)) {
	do(&j.placement)
	for g := range j.TaskGroups {
		do(&j.TaskGroups[g].placement)
		for t := range j.TaskGroups[g].Tasks {
			do(&j.TaskGroups[g].Tasks[t].placement)
		}
	}
}

// usesAttribute finds a constraint, affinity or spread on one of the attributes.
func usesAttribute(names ...string) func(*Job) string {
	return func(j *Job) string {
		found := ""
		look := func(text string) {
			for _, name := range names {
				if strings.Contains(text, "attr."+name+"}") || strings.Contains(text, "attr."+name+" ") {
					found = name
				}
			}
		}
		j.places(func(p *placement) {
			for _, c := range slices.Concat(p.Constraints, p.Affinities) {
				look(c.LTarget)
				look(c.RTarget)
			}
			for _, s := range p.Spreads {
				look(s.Attribute)
			}
		})
		return found
	}
}

func comparesOrder(j *Job) string {
	found := ""
	j.places(func(p *placement) {
		for _, c := range p.Constraints {
			if slices.Contains([]string{"<", "<=", ">", ">="}, c.Operand) {
				found = fmt.Sprintf("%s %s %s", c.LTarget, c.Operand, c.RTarget)
			}
		}
	})
	return found
}

func starDatacenter(j *Job) string {
	for _, name := range j.Datacenters {
		if strings.Contains(name, "*") {
			return "datacenter " + name
		}
	}
	return ""
}

func hasIdentity(t *Task, prefix string) bool {
	return slices.ContainsFunc(t.Identities, func(i struct{ Name string }) bool { return strings.HasPrefix(i.Name, prefix) })
}

func vaultWithoutIdentity(_ *TaskGroup, t *Task) bool {
	return t.Vault != nil && !hasIdentity(t, "vault_")
}

func vaultPolicies(_ *TaskGroup, t *Task) bool { return t.Vault != nil && len(t.Vault.Policies) > 0 }

func oldDisconnect(g *TaskGroup) bool {
	return g.MaxClientDisconnect != nil || g.StopAfterClientDisconnect != nil || g.PreventRescheduleOnLost
}

var (
	consulTemplate = regexp.MustCompile(`\{\{[^}]*\b(key|keyExists|keyOrDefault|ls|safeLs|tree|safeTree)\s+"`)
	removedSprig   = regexp.MustCompile(`\bsprig_(date|dateInZone|dateModify|htmlDate|htmlDateInZone|rand[A-Za-z]+|uuidv4|env|expandenv|getHostByName)\b`)
)

func consulWithoutIdentity(g *TaskGroup, t *Task) bool {
	return g.Consul == nil && t.Consul == nil && !hasIdentity(t, "consul_") && templateMatches(t, consulTemplate)
}

func usesRemovedSprig(_ *TaskGroup, t *Task) bool { return templateMatches(t, removedSprig) }

func templateMatches(t *Task, pattern *regexp.Regexp) bool {
	return slices.ContainsFunc(t.Templates, func(tmpl struct{ EmbeddedTmpl string }) bool { return pattern.MatchString(tmpl.EmbeddedTmpl) })
}

func systemReschedules(j *Job) string {
	if j.Type != "system" && j.Type != "sysbatch" {
		return ""
	}
	return anyGroup(func(g *TaskGroup) bool {
		return g.ReschedulePolicy != nil && (g.ReschedulePolicy.Attempts > 0 || g.ReschedulePolicy.Unlimited)
	})(j)
}

func systemJob(j *Job) string {
	if j.Type == "system" {
		return "system"
	}
	return ""
}

// maximumCount is the default of server.job_max_count (Nomad 1.11).
const maximumCount = 50_000

func largeCount(j *Job) string {
	sum := 0
	for _, g := range j.TaskGroups {
		sum += g.Count
	}
	if sum > maximumCount {
		return fmt.Sprintf("%d in all", sum)
	}
	return ""
}

func bridged(g *TaskGroup) bool {
	return slices.ContainsFunc(g.Networks, func(n struct{ Mode string }) bool { return n.Mode == "bridge" })
}

func nvidiaDevice(_ *TaskGroup, t *Task) bool {
	return t.Resources != nil && slices.ContainsFunc(t.Resources.Devices, func(d struct{ Name string }) bool { return strings.HasPrefix(d.Name, "nvidia") })
}

func dockerEmail(_ *TaskGroup, t *Task) bool {
	auth := []any{t.Config["auth"]}
	if list, ok := t.Config["auth"].([]any); ok {
		auth = list
	}
	return t.Driver == "docker" && slices.ContainsFunc(auth, func(one any) bool {
		fields, ok := one.(map[string]any)
		return ok && fields["email"] != nil
	})
}

func dockerHostMode(_ *TaskGroup, t *Task) bool {
	return t.Driver == "docker" && slices.ContainsFunc([]string{"network_mode", "pid_mode", "ipc_mode", "uts_mode", "userns_mode", "cgroupns"}, func(key string) bool {
		return t.Config[key] == "host"
	})
}
