// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// severity is what a note does to a plan.
type severity int

const (
	// noteWarns is worth knowing and stops nothing.
	noteWarns severity = iota
	// noteRefuses stops the plan, unless the user accepts it by its id.
	noteRefuses
	// noteFatal is certain to keep the new agent from starting, so that nobody can accept it.
	noteFatal
)

func (s severity) String() string {
	return [...]string{"warns", "refuses", "refuses always"}[s]
}

// whom is whose upgrade makes a note apply.
type whom int

const (
	anyAgent whom = iota
	onServers
	onClients
)

func (w whom) String() string {
	return [...]string{"agents", "servers", "clients"}[w]
}

func (w whom) concerns(f *HostFacts) bool {
	return w == anyAgent || w == onServers && f.Server || w == onClients && f.Client
}

// note is one rule of Nomad's upgrade notes. It applies to an upgrade from a version that lacks the change to one that has it.
type note struct {
	id    string
	since string // the version with the change, whose notes say so
	// backports are versions of older minor lines that have the change too.
	backports []string
	// once says that a fatal change is one for the upgrade that crosses it only.
	once bool
	// until is set where only two versions around the change are known: since is after the last one without, until the first with it.
	until string
	// below is the version that takes it back, where one does.
	below    string
	severity severity
	on       whom
	looksAt  string // for the documentation
	text     string // after "..., and "
	remedy   string

	// One of these finds what the note speaks of.
	host    func(*hostNotes) []string // says what was found, as "/etc/nomad.d/nomad.hcl:12 sets raft_protocol = 2"
	job     func(*Job) string         // what in the job, as "task web"; "" when it does not concern it
	jobs    string                    // with job: "a task named alloc"
	cluster func(*planner, *Survey) []string
}

// has tells whether a version has the change. An unknown version has not.
func (n *note) has(v Version) bool {
	return v.AtLeast(n.since) || slices.ContainsFunc(n.backports, func(release string) bool {
		backport, err := ParseVersion(release)
		return err == nil && v.Known() && v.minor() == backport.minor() && v.AtLeast(release)
	})
}

// crossed tells whether an upgrade brings the change, or a start would meet it: what no later version starts with is fatal
// again at every start, and the files may have been edited since the last one.
func (n *note) crossed(from, to Version) bool {
	if n.severity == noteFatal && !n.once {
		return n.has(to)
	}
	if from.Compare(to) >= 0 || n.below != "" && to.AtLeast(n.below) {
		return false
	}
	if n.until != "" {
		return !from.AtLeast(n.until) && n.has(to)
	}
	return !n.has(from) && n.has(to)
}

// hostNotes is what a note looks at on one host: the facts, and the settings of files and command line in the order in which
// the agent takes them.
type hostNotes struct {
	*HostFacts
	settings []Setting
	target   Version
}

// finding is one thing that a note found, on a host or in the cluster ("").
type finding struct{ host, text string }

// notes applies what Nomad's upgrade notes say of the versions between the running ones and the target.
func (p *planner) notes(survey Survey) {
	p.unreadSettings(&survey)
	for _, n := range versionNotes() {
		p.say(&n, p.findings(&n, &survey))
	}
	for _, unread := range survey.Notes.Unread {
		p.plan.warn("", "not compared with Nomad's upgrade notes: %s", unread)
	}
	p.acceptedNotes()
}

// findings looks at everything that a note concerns.
func (p *planner) findings(n *note, survey *Survey) []finding {
	var found []finding
	if n.host != nil {
		for _, facts := range sortFacts(survey.Hosts) {
			step := p.stepOf(facts.Host)
			if step == nil || step.Action == ActionNone || !n.on.concerns(&facts) || !n.crossed(step.From, p.target) {
				continue
			}
			view := hostNotes{&facts, append(slices.Clone(facts.Settings), flagSettings(facts.UnitSettings.ExecStart)...), p.target}
			for _, text := range n.host(&view) {
				found = append(found, finding{facts.Host, text + ", and " + n.text})
			}
		}
		return found
	}
	from, some := p.oldest(survey, n.on)
	if !some || !n.crossed(from, p.target) {
		return nil
	}
	if n.cluster != nil {
		for _, text := range n.cluster(p, survey) {
			found = append(found, finding{"", text + ", and " + n.text})
		}
		return found
	}
	if names := survey.Notes.Jobs[n.id]; len(names) > 0 {
		found = append(found, finding{"", fmt.Sprintf("%s, and %s: %s", countedJobs(len(names), n.jobs), n.text, firstOf(names))})
	}
	return found
}

func countedJobs(count int, what string) string {
	if count == 1 {
		return "there is 1 job with " + what
	}
	return fmt.Sprintf("there are %d jobs with %s", count, what)
}

// firstOf names the first ten, and how many more there are.
func firstOf(names []string) string {
	const shown = 10
	if len(names) <= shown {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:shown], ", "), len(names)-shown)
}

func (p *planner) stepOf(host string) *Step {
	i := slices.IndexFunc(p.plan.Steps, func(s Step) bool { return s.Host == host })
	if i < 0 {
		return nil
	}
	return &p.plan.Steps[i]
}

// oldest is the lowest version of those that would be upgraded.
func (p *planner) oldest(survey *Survey, on whom) (from Version, some bool) {
	for _, facts := range survey.Hosts {
		step := p.stepOf(facts.Host)
		if step == nil || step.Action == ActionNone || !on.concerns(&facts) {
			continue
		}
		if !some || step.From.Compare(from) < 0 {
			from = step.From
		}
		some = true
	}
	return from, some
}

// manyHosts is how many hosts have a line each for the same thing; more of them share one.
const manyHosts = 5

// say puts what a note found into the plan.
func (p *planner) say(n *note, found []finding) {
	byText := map[string][]string{}
	var texts []string
	for _, f := range found {
		if byText[f.text] == nil {
			texts = append(texts, f.text)
		}
		byText[f.text] = append(byText[f.text], f.host)
	}
	for _, text := range texts {
		hosts := byText[text]
		if len(hosts) > manyHosts {
			p.sayOf(n, "", firstOf(hosts)+": "+text)
		}
		for _, host := range hosts {
			if len(hosts) <= manyHosts {
				p.sayOf(n, host, text)
			}
			if step := p.stepOf(host); step != nil && p.refuses(n) {
				step.Action = ActionRefused
			}
		}
	}
}

func (p *planner) refuses(n *note) bool {
	return n.severity == noteFatal || n.severity == noteRefuses && !slices.Contains(p.options.AcceptNotes, n.id)
}

func (p *planner) sayOf(n *note, host, text string) {
	problem := Problem{Host: host, Text: text, Remedy: n.remedy}
	switch {
	case n.severity == noteFatal:
		p.plan.Problems = append(p.plan.Problems, problem)
	case p.refuses(n):
		problem.Remedy += "; or go on as it is with " + n.flag()
		p.plan.Problems = append(p.plan.Problems, problem)
	case n.severity == noteRefuses:
		accepted := Problem{Host: host, Text: text}
		p.plan.Accepted = append(p.plan.Accepted, AcceptedRisk{Flag: n.flag(), What: accepted.String()})
	default:
		p.plan.Warnings = append(p.plan.Warnings, problem)
	}
}

func (n *note) flag() string { return "--accept-note " + n.id }

// acceptedNotes refuses to accept what is not there to be accepted, so that a slip of the pen is not taken for consent.
func (p *planner) acceptedNotes() {
	known := versionNotes()
	for _, id := range p.options.AcceptNotes {
		i := slices.IndexFunc(known, func(n note) bool { return n.id == id })
		switch {
		case i < 0:
			p.plan.refuse("", "take the name from the words of the plan, which end with it", "--accept-note %s: there is no such note", id)
		case known[i].severity == noteFatal:
			p.plan.refuse("", known[i].remedy, "--accept-note %s: an agent that this note speaks of does not start, so that it cannot be accepted", id)
		case !slices.ContainsFunc(p.plan.Accepted, func(a AcceptedRisk) bool { return a.Flag == known[i].flag() }):
			p.plan.Accepted = append(p.plan.Accepted, AcceptedRisk{Flag: known[i].flag(), What: "loosens nothing here"})
		}
	}
}

// unreadSettings warns of files that no rule could look into.
func (p *planner) unreadSettings(survey *Survey) {
	for _, facts := range sortFacts(survey.Hosts) {
		step := p.stepOf(facts.Host)
		if step == nil || step.Action == ActionNone {
			continue
		}
		for _, s := range facts.Settings {
			if s.Key != KeyUnread {
				continue
			}
			what := s.where() + " cannot be read as configuration from there on, so that the rest"
			if s.Line == 0 {
				what = s.where() + " cannot be read as configuration, so that it"
			}
			p.plan.Warnings = append(p.plan.Warnings, Problem{
				Host: facts.Host, Text: what + " was not compared with Nomad's upgrade notes", Remedy: "see what Nomad itself says: nomad config validate " + s.File,
			})
		}
	}
}

// ClusterNotes is what the notes of versions ask of the cluster and its jobs.
type ClusterNotes struct {
	// Jobs are those that a note concerns, by the note's id, as "default/web (task alloc)", sorted.
	Jobs map[string][]string
	// KillTimeouts are the jobs' longest kill_timeouts above Nomad's default.
	KillTimeouts map[string]time.Duration
	// Policies are the ACL policies with a namespace that has no name.
	Policies []string
	// OldVaultNodes and VaultTokens are what Nomad's own check of Vault's workload identities counts.
	OldVaultNodes, VaultTokens int
	// Unread says in words what could not be asked.
	Unread []string
}
