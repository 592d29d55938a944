// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"drover/internal/expression"
	"drover/internal/nomad"
	"drover/internal/wait"
	"drover/internal/wire"
)

func nomadSwapModule() Module {
	return Module{
		Name:  "nomad_swap",
		Short: "Replace a host's Nomad binary with the staged one and restart the agent",
		Doc: "Stops the agent, exchanges its binary and starts it. On the host that is one transaction, which ends by itself whatever becomes of the connection.\n\n" +
			"A server is stopped only when every other voter counted on has answered for itself within the last second and those left are a majority; " +
			"leadership that has landed on an upgraded server while old ones remain is moved back first where the version allows it. " +
			"A client is restarted when the budget before the servers call it down is at least three times the largest pause measured so far, else right after its next heartbeat; " +
			"if its new agent does not come up, the old binary and client state come back.\n\n" +
			"The stop signal is one that cannot make a server leave or a client drain itself. A host that already runs the version is left alone. " + unitDoc,
		Args: append([]Arg{
			versionArg(),
			{Name: "allow_leave", Kind: Boolean, Default: false, Doc: "Where no signal is safe, let the server leave raft, if it has retry_join; waits until it votes again. Not for one that is a client too, which would drain itself."},
			{Name: "stop_signal", Kind: String, Choices: []string{"KILL"}, Doc: "KILL stops the agent by SIGKILL, which lets it neither leave nor drain itself; its tasks go on."},
			{Name: "timeout", Kind: Duration, Default: "5m", Doc: "How long to wait for the right moment, and then for a client to register."},
		}, acceptArgs()...),
		Check: CheckFull,
		Returns: []Arg{
			{Name: "gap_ms", Kind: Integer, Doc: "From the stop until the new process listened; for a client until its first heartbeat."},
			{Name: "down_ms", Kind: Integer, Doc: "From the old process's end until the new one listened."},
			{Name: "from", Kind: String, Doc: "The version that ran before."},
			{Name: "previous", Kind: Path, Doc: "Where the old binary is kept."},
		},
		Example: `- nomad_swap:
    version: 1.11.0`,
		Run: nomadSwap,
	}
}

// swapFact records a swap for the modules that check it afterwards. Times are Unix nanoseconds of the bastion.
type swapFact struct {
	ID      string             `json:"id"`
	Version nomad.Version      `json:"version"`
	From    nomad.Version      `json:"from"`
	At      int64              `json:"at"` // when the stop was ordered
	OldPID  int                `json:"old_pid"`
	NewPID  int                `json:"new_pid"`
	Gap     int64              `json:"gap_ms"`
	Down    int64              `json:"down_ms"`
	Servers []nomad.RaftServer `json:"servers"` // raft configuration before the stop
	Reached uint64             `json:"reached"`
	Node    *nomad.Node        `json:"node"` // a client before the stop
	// Before are the names that must not change.
	ServerID string `json:"server_id"`
	NodeName string `json:"node_name"`
	Region   string `json:"region"`
	DataDir  string `json:"data_dir"`
	Settled  bool   `json:"settled"` // the host needs no copies any more
	WasDown  bool   `json:"was_down"`
}

// swap is one execution of nomad_swap.
type swap struct {
	*cluster
	target  nomad.Version
	facts   nomad.HostFacts
	agent   wire.AgentResult
	own     nomad.Answer
	prepare wire.SwapPrepare
	leaves  bool // the signal makes the server leave
	// alone says that raft's configuration shall be this server and nobody else (nomad.StopQuestion).
	alone bool
	// sole says that what can be read on the host names no other server (nomad.StopQuestion).
	sole bool
	// lone says that it is the only server by what it tells without a token: should it leave when it stops, it leaves nobody.
	lone bool
	// guard says what else speaks against the stop; nil: nothing does.
	guard func([]nomad.Answer) []nomad.Problem
	doing string // what is done, for errors; "": the exchange of the binary
	stays bool   // leadership could not be moved, and nothing is waited for on its account
	// measured says that the record's gap is the one up to the first heartbeat.
	measured bool
	// backup is where server/ was copied before an accepted outage, "" when it was not.
	backup string
	voice  voice
	record swapFact
	// accepted are the risks that the user accepted, servers by their raft ids too.
	accepted nomad.Accepted
	// leaderless is since when no server has been seen to lead; zero while one does.
	leaderless time.Time
}

func nomadSwap(ctx context.Context, call *Call) (*Result, error) {
	s := &swap{cluster: newCluster(call), voice: voice{call: call}}
	defer s.close()
	ctx, cancel := context.WithTimeout(ctx, 2*call.Args.Duration("timeout")+time.Minute)
	defer cancel()
	done, err := s.begin(ctx)
	if err != nil || done {
		return &Result{Message: "already runs " + s.target.String()}, err
	}
	if call.Check {
		return &Result{Changed: true, Message: fmt.Sprintf("would replace %s with %s", s.running(), s.target)}, nil
	}
	var outcome wire.SwapOutcome
	if s.facts.Server {
		outcome, err = s.stopServer(ctx)
	} else {
		outcome, err = s.stopClient(ctx)
	}
	if err != nil {
		return nil, err
	}
	if err := s.judge(ctx, outcome); err != nil {
		return nil, err
	}
	if err := s.afterwards(ctx, outcome); err != nil {
		return nil, err
	}
	return s.result(ctx, outcome), nil
}

// begin looks at the host anew (the facts may be old) and works out how to stop the agent; done means that there is
// nothing to do.
func (s *swap) begin(ctx context.Context) (done bool, err error) {
	if s.target, err = targetVersion(s.call); err != nil {
		return false, err
	}
	if s.facts, err = s.mustFacts(s.call.Name); err != nil {
		return false, err
	}
	if err := s.resume(ctx); err != nil {
		return false, err
	}
	if s.agent, err = agentOf(ctx, s.call.Host, s.facts.Unit); err != nil {
		return false, fmt.Errorf("look at %s: %w", s.facts.Unit, err)
	}
	setAgent(&s.facts, s.agent)
	if s.facts.Upgraded(s.target) {
		return true, nil
	}
	var staged stagedFact
	if !s.readFact(s.call.Name, factStaged, &staged) || !staged.Version.Same(s.target) {
		if s.call.Check {
			return false, nil
		}
		return false, fmt.Errorf("no binary of Nomad %s is staged on %s; run nomad_stage first", s.target, s.call.Name)
	}
	s.own = s.ask(ctx, s.call.Name)
	if s.own.Error == "" {
		dataDir := s.facts.DataDir
		s.facts.SetView(s.own.View)
		if s.facts.DataDir == "" {
			s.facts.DataDir = dataDir
		}
	}
	signal, err := s.signal()
	if err != nil {
		return false, err
	}
	s.prepare = wire.SwapPrepare{
		Unit: s.facts.Unit, Staged: staged.Path, SHA256: staged.SHA256, Version: s.target.String(), MainPID: s.agent.Unit.MainPID,
		Signal: signal, Server: s.facts.Server, Client: s.facts.Client, DataDir: s.facts.DataDir,
		Listen: s.ports(), Hold: !s.facts.Server && s.facts.Client,
	}
	return false, nil
}

// down tells that the host has no living agent: nothing runs, or systemd starts it over and over.
func (s *swap) down() bool {
	return !s.agent.Running || (s.own.Error != "" && crashLooping(s.agent.Unit))
}

// crashLooping tells an agent that systemd starts over and over, or is stopping, from one that is slow: a unit of
// Type=notify is activating until its server has read its state, and may have a vote a moment later.
func crashLooping(unit wire.UnitState) bool {
	switch unit.ActiveState {
	case "activating":
		return unit.NRestarts > 0 || strings.HasPrefix(unit.SubState, "auto-restart")
	case "active", "reloading":
		return false
	}
	return true
}

// waitToStop lets a moment pass before the next look at whether the agent may be stopped. Nothing has been stopped yet, so the
// first interrupt ends the wait.
func (s *swap) waitToStop(ctx context.Context) error {
	select {
	case <-s.call.Interrupted:
		return errors.New("interrupted")
	default:
		return wait.For(ctx, pollEvery)
	}
}

func (s *swap) running() string {
	if !s.agent.Running {
		return "an agent that does not run"
	}
	return s.facts.VersionRunning.String()
}

func (s *swap) signal() (string, error) {
	options := nomad.SignalOptions{
		AllowLeave: s.call.Args.Bool("allow_leave"), Client: s.facts.Client, RetryJoin: s.facts.RetryJoin, Stop: s.call.Args.String("stop_signal"),
	}
	if s.down() {
		return options.Stop, nil
	}
	if s.own.Error != "" && options.Stop == "" && !s.lone {
		return "", refuse("%s: the agent runs but does not answer (%s), so its leave flags are not known and no signal is known to be safe; "+
			"nothing was stopped; repair its API, or stop it with stop_signal: KILL (--stop-signal KILL)", s.call.Name, s.own.Error)
	}
	signal, problems := nomad.SafeSignal(s.facts.Leave, s.agent.Unit.KillSignal, options)
	if len(problems) > 0 {
		return "", refuse("%s: nothing was stopped: %s", s.call.Name, nomad.Words(problems))
	}
	s.leaves = s.facts.Leave.OnInterrupt && s.facts.Leave.OnTerminate && signal != wire.StopKILL
	return signal, nil
}

// ports are those that the new process must listen on: HTTP, and RPC for a server. An advertised RPC port that the
// process does not listen on belongs to an address translation in between.
func (s *swap) ports() []int {
	listening := map[string]bool{}
	for _, address := range s.agent.Listening {
		if _, port, err := net.SplitHostPort(address); err == nil {
			listening[port] = true
		}
	}
	addresses := []string{s.facts.API.Address}
	if s.facts.Server {
		addresses = append(addresses, s.facts.RPC)
	}
	var ports []int
	for _, address := range addresses {
		_, port, err := net.SplitHostPort(address)
		number, numberErr := strconv.Atoi(port)
		if err == nil && numberErr == nil && listening[port] && !slices.Contains(ports, number) {
			ports = append(ports, number)
		}
	}
	return ports
}

// place brings the binary beside the installed one ahead of the permission. What is wrong with the host shows here, too.
func (s *swap) place(ctx context.Context) error {
	ahead := s.prepare
	ahead.Place = true
	err := s.call.Host.Call(ctx, ahead, nil, &wire.SwapPrepareResult{})
	if err == nil || wire.IsKind(err, wire.KindStale) && s.down() {
		return nil
	}
	return fmt.Errorf("prepare the swap on %s (nothing was stopped): %w", s.call.Name, err)
}

// open asks the host for a permission. The process may have changed since it was seen when it is being restarted.
func (s *swap) open(ctx context.Context) (wire.SwapPrepareResult, error) {
	var permission wire.SwapPrepareResult
	err := s.call.Host.Call(ctx, s.prepare, nil, &permission)
	if wire.IsKind(err, wire.KindStale) && s.down() {
		if err = s.lookAgain(ctx); err == nil {
			err = s.call.Host.Call(ctx, s.prepare, nil, &permission)
		}
	}
	if err != nil {
		return permission, fmt.Errorf("prepare the swap on %s (nothing was stopped): %w", s.call.Name, err)
	}
	return permission, nil
}

// lookAgain takes in the process that has appeared on a host that was down. If systemd has not restarted it meanwhile,
// somebody has started it, and it is asked for its leave flags like any other.
func (s *swap) lookAgain(ctx context.Context) error {
	restarts := s.agent.Unit.NRestarts
	var err error
	if s.agent, err = agentOf(ctx, s.call.Host, s.facts.Unit); err != nil {
		return err
	}
	s.prepare.MainPID = s.agent.Unit.MainPID
	if s.agent.Running && s.agent.Unit.NRestarts <= restarts {
		setAgent(&s.facts, s.agent)
		if s.own = s.ask(ctx, s.call.Name); s.own.Error == "" {
			s.facts.SetView(s.own.View)
		}
		s.prepare.Signal, err = s.signal()
	}
	return err
}

// commitWithin is how long after a preparation a commit is still sent; the host refuses it a second later.
const commitWithin = (wire.SwapPermission - 1000) * time.Millisecond

// commitTimeout bounds the transaction on the host; a unit may take its time to stop and to start.
const commitTimeout = 10 * time.Minute

var errPermissionOld = errors.New("the permission to stop has grown old")

// commit starts the transaction.
func (s *swap) commit(ctx context.Context, permission wire.SwapPrepareResult, prepared time.Time) (wire.SwapOutcome, error) {
	var outcome wire.SwapOutcome
	if time.Since(prepared) > commitWithin {
		return outcome, errPermissionOld
	}
	s.record.At = time.Now().UnixNano()
	// The answer is waited for even when the run is interrupted: the transaction goes on anyway, and its outcome must
	// not be lost.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	err := s.call.Host.Call(ctx, wire.SwapCommit{Token: permission.Token}, nil, &outcome)
	if wire.IsKind(err, wire.KindStale) {
		return outcome, errPermissionOld
	}
	if err != nil {
		return outcome, fmt.Errorf("swap Nomad on %s: %w; if the transaction had begun, it ends by itself on the host: run again to see how", s.call.Name, err)
	}
	return outcome, nil
}

// judge turns an outcome that is not good into an error that says what state was left.
func (s *swap) judge(ctx context.Context, outcome wire.SwapOutcome) error {
	if outcome.State == wire.SwapDone {
		return nil
	}
	left := map[string]string{
		wire.SwapReverted:  "the old binary runs again",
		wire.SwapFailed:    "the new binary is in place and the agent is not well",
		wire.SwapUntouched: "nothing was stopped",
		wire.SwapRunning:   "the transaction still runs on the host",
	}[outcome.State]
	if outcome.State == wire.SwapReverted || outcome.State == wire.SwapUntouched {
		// The host has nothing to keep for it. Should this fail, the next run closes it.
		_ = settle(ctx, s.call.Host, outcome.ID)
	}
	doing := s.doing
	if doing == "" {
		doing = "swapping Nomad to " + s.target.String()
	}
	return s.failure(ctx, fmt.Sprintf("%s did not succeed: %s; %s", doing, outcome.Error, left), outcome.Hint, outcome.Log)
}

// failure is an error with the unit's last words.
func (s *swap) failure(ctx context.Context, what, hint string, lines []string) error {
	if len(lines) == 0 {
		lines = journalLines(ctx, s.call.Host, s.facts.Unit)
	}
	if len(lines) > 20 {
		lines = lines[len(lines)-20:]
	}
	text := s.call.Name + ": " + what
	if hint != "" {
		text += "; " + hint
	}
	return withLog(text, s.facts.Unit, lines)
}

// afterwards waits for what only the API can show.
func (s *swap) afterwards(ctx context.Context, outcome wire.SwapOutcome) error {
	s.record.ID, s.record.Version, s.record.From = outcome.ID, s.target, s.facts.VersionRunning
	s.record.OldPID, s.record.NewPID = outcome.OldPID, outcome.NewPID
	s.record.Gap = (outcome.Listening - outcome.Stopped) / int64(time.Millisecond)
	s.record.Down = (outcome.Listening - outcome.Gone) / int64(time.Millisecond)
	s.record.ServerID, s.record.NodeName = s.facts.ServerID, s.facts.NodeName
	s.record.Region, s.record.DataDir, s.record.WasDown = s.facts.Region, s.facts.DataDir, s.down()
	if s.facts.Client && !s.facts.Server {
		return s.awaitRegistration(ctx)
	}
	if s.leaves {
		return awaitHealthyServer(ctx, s.cluster, s.target, s.record, s.call.Args.Duration("timeout"))
	}
	return nil
}

func (s *swap) result(ctx context.Context, outcome wire.SwapOutcome) *Result {
	facts := factMap(factSwap, s.record)
	if now, err := s.look(ctx, s.call.Name); err == nil {
		if !now.Answers {
			// The tasks that follow ask it again, and must know where and whom.
			now.API, now.RPC, now.ServerID, now.NodeID = s.facts.API, s.facts.RPC, s.facts.ServerID, s.facts.NodeID
		}
		facts.Set(factNomad, expression.FromGo(now))
	}
	return &Result{
		Changed: true, Facts: facts,
		Message: fmt.Sprintf("%s to %s, away for %d ms", s.running(), s.target, s.record.Down),
		Data: expression.MapOf("gap_ms", s.record.Gap, "down_ms", s.record.Down, "from", s.facts.VersionRunning.String(),
			"previous", outcome.Previous, "id", outcome.ID),
	}
}

// settle tells the host that the outcome is known and needs no copies any more.
func settle(ctx context.Context, host Host, id string) error {
	if id == "" {
		return nil
	}
	if err := host.Call(ctx, wire.SwapSettle{ID: id}, nil, &struct{}{}); err != nil && !wire.IsKind(err, wire.KindNotFound) {
		return fmt.Errorf("close the record of the swap on %s: %w", host.Name(), err)
	}
	return nil
}
