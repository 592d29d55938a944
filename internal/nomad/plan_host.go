// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"path"
	"slices"
	"strings"

	"drover/internal/wire"
)

// host plans one host.
func (p *planner) host(survey Survey, facts HostFacts, server ServerState) {
	step := Step{
		Host: facts.Host, Role: facts.Role, From: facts.VersionRunning, To: p.target, Leader: facts.Leader, Voter: server.Voter,
		Unit: facts.Unit, Binary: facts.Binary, Link: facts.Link, Package: facts.Package, Datacenter: facts.Datacenter, Action: ActionNone,
	}
	if !facts.Running {
		step.From = facts.VersionDisk
	} else if facts.VersionDisk.Known() && !facts.VersionDisk.Same(facts.VersionRunning) {
		step.Disk = facts.VersionDisk
	}
	if node := survey.node(facts); node != nil {
		step.NodeStatus, step.Eligibility, step.Draining = node.Status, node.SchedulingEligibility, node.Drain
		step.DrainedBy, step.OwnDrain = node.drainedBy()
	}
	switch {
	case p.options.leavesOut(facts.Host):
		step.Reason, step.LeftOut = "left out by the limit", true
	case p.options.Servers && !facts.Server:
		step.Reason = "only servers were asked for"
	case p.options.Clients && facts.Server:
		step.Reason = "only clients were asked for"
	case facts.Role == "none" && !facts.Running:
		p.nobody(facts, &step)
	case p.options.Onward.Known() && step.beyond() && step.From.Compare(p.options.Onward) <= 0:
		step.Reason = "runs " + step.From.String() + " already, past this stop"
	case facts.Upgraded(p.target) && facts.Unfinished != "":
		step.Closes, step.Reason = true, "already "+p.target.String()+"; closes "+facts.Unfinished
		if !facts.Server { // a client goes in a batch for that; a server is not stopped, and no vote is at stake
			step.Action = ActionUpgrade
		}
	case facts.Upgraded(p.target):
		step.Reason = "already " + p.target.String() + ", on disk and running"
	default:
		p.upgrade(facts, &step)
	}
	if step.Action == ActionUpgrade {
		p.tell(survey, facts, &step)
	}
	p.plan.Steps = append(p.plan.Steps, step)
}

// nobody is a host on which no agent was found.
func (p *planner) nobody(facts HostFacts, step *Step) {
	step.Reason = "no Nomad agent is configured on it"
	if runner := containerRunner(facts); runner != "" {
		p.inContainer(facts, runner)
		step.Action = ActionRefused
		return
	}
	if facts.Unit != "" && !facts.UnitSettings.Systemd {
		p.exclude(facts.Host, "name its unit with nomad_unit, or remove the host from the inventory", "there is no unit %s", facts.Unit)
		step.Action = ActionRefused
	}
}

// upgrade decides whether a host that is not at the target can be brought there.
func (p *planner) upgrade(facts HostFacts, step *Step) {
	before := len(p.plan.Problems)
	step.Action = ActionUpgrade
	switch {
	case !facts.Running:
		step.Reason = "does not run; it is started with " + p.target.String()
	case facts.VersionDisk.Same(p.target):
		step.Reason = "has " + p.target.String() + " on disk, but still runs " + facts.VersionRunning.String()
	default:
		step.Reason = facts.VersionRunning.String() + " to " + p.target.String()
	}
	problems := versionProblems(step.From, p.target, p.options.VersionOptions)
	if unsupportedSkip(step.From, p.target) {
		p.skips = append(p.skips, facts.Host)
	}
	for _, problem := range append(problems, raftProblems(facts, p.target)...) {
		problem.Host = facts.Host
		p.plan.Problems = append(p.plan.Problems, problem)
	}
	denied := facts.Running && facts.Denied != ""
	if facts.Running && !facts.Answers && !facts.CrashLooping && !denied {
		p.exclude(facts.Host, "check nomad_token, nomad_cacert and the agent's log", "its agent runs but does not answer: %s", facts.Problem)
	}
	if facts.Running && !facts.CrashLooping { // one that systemd starts over and over has no leave to take
		p.signal(facts, step)
	}
	p.unit(facts)
	p.binary(facts)
	if denied || len(p.plan.Problems) > before {
		step.Action = ActionRefused
	}
}

// tell warns of what is peculiar about a host that is upgraded.
func (p *planner) tell(survey Survey, facts HostFacts, step *Step) {
	if facts.Package != "" {
		p.plan.warn(facts.Host, "the package %s owns the binary: a later upgrade, downgrade or repair of the package may replace it", facts.Package)
	}
	if step.Disk.Compare(p.target) > 0 {
		p.plan.warn(facts.Host, "%s lies on disk and does not run yet; it is replaced by %s", step.Disk, p.target)
	}
	switch down := facts.Server && step.Action == ActionUpgrade && (!facts.Running || facts.CrashLooping); {
	case down && survey.dropped(&facts):
		p.plan.warn(facts.Host, "this server is down, and raft has dropped it; it is repaired first, and no other server is stopped before it votes again")
	case down:
		p.plan.warn(facts.Host, "this server is down; it is repaired first")
	}
	if facts.Client {
		p.beforehand(facts, step)
	}
}

// beforehand records how a client was, so that it is not taken for the upgrade's doing.
func (p *planner) beforehand(facts HostFacts, step *Step) {
	switch {
	case !facts.Running && !facts.Server:
		p.plan.warn(facts.Host, "this client is down: it is started with %s, and if it does not become ready, that is told and not counted as a failure of the upgrade", p.target)
	case step.NodeStatus != "" && step.NodeStatus != nodeReady:
		p.plan.warn(facts.Host, "the servers see this client as %s: if it does not become ready, that is told and not counted as a failure of the upgrade", step.NodeStatus)
	}
	switch {
	case step.OwnDrain:
		p.plan.warn(facts.Host, "is draining, begun by %s; upgrade-clients --drain goes on with that and restores its eligibility, an upgrade in place does not touch it", step.DrainedBy)
	case step.Draining:
		p.plan.warn(facts.Host, "is draining; its drain is not touched")
	case step.Eligibility == "ineligible":
		p.plan.warn(facts.Host, "is ineligible; it stays so")
	}
}

// unit refuses settings of the unit with which a stop or a start would go wrong.
func (p *planner) unit(facts HostFacts) {
	unit := facts.UnitSettings
	if runner := containerRunner(facts); runner != "" {
		p.inContainer(facts, runner)
		return
	}
	if !unit.Systemd {
		p.exclude(facts.Host, "unmask "+facts.Unit+", or repair its file, and reload systemd", "systemd has no usable definition of %s (it is masked, missing or damaged), so that it could not be started again", facts.Unit)
	}
	if !strings.EqualFold(unit.KillMode, "process") && facts.Client && facts.Running {
		p.exclude(facts.Host, "set KillMode=process in the unit and reload systemd", "the unit's KillMode is %s, so that a stop kills the tasks too", unit.KillMode)
	}
	if unit.ExecStop && facts.Running {
		p.exclude(facts.Host, "reset it with a drop-in (ExecStop=, empty) and reload systemd", "the unit has an ExecStop, which a stop runs before any signal: it may drain the node or make a server leave")
	}
	if strings.HasPrefix(unit.Type, "notify") && !p.target.AtLeast("1.8.0") {
		p.exclude(facts.Host, "set Type=simple in the unit and reload systemd", "the unit has Type=%s, and Nomad before 1.8 never says that it is ready, so that systemd would end %s again", unit.Type, p.target)
	}
}

// containerRunner is the program that starts Nomad in a container, where the unit's command is one.
func containerRunner(facts HostFacts) string {
	if len(facts.UnitSettings.ExecStart) == 0 {
		return ""
	}
	runner := path.Base(facts.UnitSettings.ExecStart[0])
	if slices.Contains([]string{"docker", "podman", "nerdctl", "ctr", "crictl", "runc", "systemd-nspawn", "lxc-start"}, runner) {
		return runner
	}
	return ""
}

func (p *planner) inContainer(facts HostFacts, runner string) {
	p.exclude(facts.Host, "upgrade its image with the tool that manages the container", "Nomad runs in a container there (%s starts %s), and drover exchanges binaries on hosts", facts.Unit, runner)
}

func (p *planner) signal(facts HostFacts, step *Step) {
	options := p.options.SignalOptions
	options.RetryJoin, options.Client = facts.RetryJoin, facts.Client
	signal, problems := SafeSignal(facts.Leave, facts.UnitSettings.KillSignal, options)
	for _, problem := range problems {
		problem.Host, problem.Limit = facts.Host, "!"+facts.Host
		p.plan.Problems = append(p.plan.Problems, problem)
	}
	if signal == wire.StopUnit && facts.Leave.OnInterrupt && facts.Leave.OnTerminate {
		p.leaves = append(p.leaves, facts.Host)
	}
	if signal != wire.StopUnit {
		step.Signal = signal
	}
}

// binary refuses hosts on which the new binary cannot be put in the old one's place.
func (p *planner) binary(facts HostFacts) {
	for _, refused := range facts.Refusals {
		p.exclude(facts.Host, refused.Remedy, "%s", refused.Text)
	}
	if len(facts.SharedBy) > 0 {
		p.exclude(facts.Host, "give each agent a binary of its own: copy it, and name the copy in the ExecStart of its unit", "other agents run the same file %s, and would change with it: %s", facts.Binary, strings.Join(facts.SharedBy, ", "))
	}
	if facts.ReadOnly {
		p.exclude(facts.Host, "put Nomad on a filesystem that can be written to and name it in ExecStart, or upgrade the image that the filesystem comes from", "the filesystem of %s is mounted read-only", facts.Binary)
	}
}

// binaries says for which machine types there is no new binary, and on which hosts there is no room for it.
func (p *planner) binaries(survey Survey) {
	missing := map[string][]string{}
	for i := range p.plan.Steps {
		step := &p.plan.Steps[i]
		at := slices.IndexFunc(survey.Hosts, func(f HostFacts) bool { return f.Host == step.Host })
		if step.Action == ActionNone || at < 0 {
			continue
		}
		facts := survey.Hosts[at]
		binary, named := survey.Binaries[facts.Architecture]
		switch {
		case !named || facts.VersionDisk.Same(p.target):
		case binary.Error != "":
			missing[facts.Architecture] = append(missing[facts.Architecture], step.Host)
		case survey.Short[step.Host].Text != "":
			p.exclude(step.Host, survey.Short[step.Host].remedy(step.Host), "%s", survey.Short[step.Host].Text)
			step.Action = ActionRefused
		}
	}
	for _, machine := range sortedKeys(missing) {
		slices.Sort(missing[machine])
		p.plan.refuse("", "see to that, or name another source: --binary FILE, --binary-dir DIR or --mirror URL", "there is no usable new Nomad for %s (%s): %s", machine, someHosts(missing[machine]), survey.Binaries[machine].Error)
	}
}

// spaceReserve is what must be left free beside what is landed, bytes: the agent refuses to land anything that would take it.
const spaceReserve = 64 << 20

// Short tells whether a host may have too little room for a new binary of some bytes: it is staged once and placed beside the installed one
// (an exchange is a rename), and where the file of the running one was replaced, that is kept as a copy. Only the host knows what of it is
// there already.
func (f *HostFacts) Short(size int64) bool {
	beside := size
	if f.Running && !f.ExeCurrent {
		beside += size
	}
	if f.StageFreeBytes < 0 {
		return f.FreeBytes < beside+size+spaceReserve
	}
	return f.FreeBytes < beside+spaceReserve || f.StageFreeBytes < size+spaceReserve
}
