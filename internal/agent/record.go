// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"time"

	"drover/internal/wire"
)

// plan is what a transaction is to do, fixed before it begins.
type plan struct {
	ID      string           `json:"id"`
	Kind    string           `json:"kind"` // kindSwap or kindRevert
	Request wire.SwapPrepare `json:"request"`
	// Binary is what is exchanged: the program of ExecStart, symbolic links resolved, or the link that chooses the program.
	Binary   string `json:"binary"`
	Placed   string `json:"placed"`   // where the new binary waits beside the old one; where a link chooses, it stays there
	Ours     bool   `json:"ours"`     // drover made Placed
	Previous string `json:"previous"` // where the old binary is kept
	// Old is what is installed, New what Placed is, Back what comes back in a revert: what ran, which is Old unless somebody
	// has replaced the file since it was started.
	Old  fileID `json:"old"`
	New  fileID `json:"new"`
	Back fileID `json:"back"`
	// Kept is a copy of what runs, and Displaced where Old waits until the transaction has ended; "" where Back is Old.
	Kept      string `json:"kept,omitempty"`
	Displaced string `json:"displaced,omitempty"`
	// LinkOld, LinkNew and LinkBack are what the link says before, after and when reverted; "" where there is no link.
	LinkOld  string `json:"link_old,omitempty"`
	LinkNew  string `json:"link_new,omitempty"`
	LinkBack string `json:"link_back,omitempty"`

	OldTicks uint64        `json:"old_ticks"`
	BootID   string        `json:"boot_id"`
	StopBy   time.Duration `json:"stop_by"` // time since boot after which nothing may be stopped any more
	Copies   string        `json:"copies"`  // directory of what a revert needs
	// Edits are those of the request, without their content, which is in Copies.
	Edits  []edit `json:"edits,omitempty"`
	Backup string `json:"backup,omitempty"` // where a directory is copied to
}

const (
	kindSwap   = "swap"
	kindRevert = "revert"
)

// Steps of a transaction, in the order of a swap without trouble. A name in -ing is written before, one in -ed after.
const (
	stepCommitted   = "committed"
	stepResumed     = "resumed"
	stepDropIn      = "drop-in installed"
	stepExchanging  = "exchanging"
	stepExchanged   = "exchanged"
	stepStopping    = "stopping"
	stepStopped     = "stopped"
	stepBackedUp    = "backed up"
	stepEditing     = "editing"
	stepEdited      = "edited"
	stepCopied      = "copied"
	stepPaused      = "paused"
	stepStarting    = "starting"
	stepStarted     = "started"
	stepListening   = "listening"
	stepChecked     = "checked"
	stepFailed      = "failed"
	stepReverting   = "reverting"
	stepOldStopped  = "new agent stopped"
	stepUnediting   = "taking edits back"
	stepOldBack     = "old binary back"
	stepStateBack   = "client state back"
	stepOldStarting = "old starting"
	stepOldStarted  = "old started"
)

const (
	planFile    = "plan.json"
	stepsFile   = "steps.jsonl"
	outcomeFile = "outcome.json"
	settledFile = "settled"
	agentFile   = "drover-agent"
	goFile      = "go" // ends the pause
)

// record is a transaction's directory: the plan, a line per step, at last the outcome. Whoever holds the directory can
// carry the transaction on from where it stands.
type record struct {
	dir   string
	plan  plan
	steps []wire.SwapStep
	out   *os.File
}

// createRecord makes a record that is not committed yet.
func createRecord(dir string, p plan) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the record of the swap: %w", err)
	}
	return saveJSON(filepath.Join(dir, planFile), p)
}

func saveJSON(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", filepath.Base(path), err)
	}
	mode := uint32(0o600)
	_, err = landing{path: path, like: path, size: int64(len(text)), mode: &mode, uid: -1, gid: -1}.
		land(noCancel(), bytes.NewReader(text))
	return err
}

func loadJSON(path string, v any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("decode %s: %w", path, err)
	}
	return nil
}

// readRecord reads a record without the means to write to it.
func readRecord(dir string) (*record, error) {
	r := &record{dir: dir}
	if err := loadJSON(filepath.Join(dir, planFile), &r.plan); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(dir, stepsFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for line := range bytes.Lines(text) {
		var step wire.SwapStep
		// The last line may be torn by a power cut; what it would have said is asked of the host.
		if json.Unmarshal(line, &step) == nil && step.Name != "" {
			r.steps = append(r.steps, step)
		}
	}
	return r, nil
}

// openRecord reads a record to carry it on.
func openRecord(dir string) (*record, error) {
	r, err := readRecord(dir)
	if err != nil {
		return nil, err
	}
	r.out, err = os.OpenFile(filepath.Join(dir, stepsFile), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the steps of the swap: %w", err)
	}
	return r, nil
}

func (r *record) close() { r.out.Close() }

// step writes that a step is about to be made, or was made, and makes that last.
func (r *record) step(name, note string) error {
	if err := r.mark(name, note); err != nil {
		return err
	}
	if err := r.out.Sync(); err != nil {
		return fmt.Errorf("record step %q: %w", name, err)
	}
	return nil
}

// mark writes a step without waiting for the disk: between stop and start, where time counts and the next step follows
// at once. It survives the death of the process all the same.
func (r *record) mark(name, note string) error {
	step := wire.SwapStep{Name: name, At: time.Now().UnixNano(), Note: note}
	line, err := json.Marshal(step)
	if err != nil {
		return fmt.Errorf("encode step %q: %w", name, err)
	}
	// A line break first ends a line that a power cut has torn.
	if _, err := r.out.Write(append(append([]byte("\n"), line...), '\n')); err != nil {
		return fmt.Errorf("record step %q: %w", name, err)
	}
	r.steps = append(r.steps, step)
	return nil
}

func (r *record) has(name string) bool { return r.at(name) != 0 }

// at is when a step was recorded for the first time; 0 if never.
func (r *record) at(name string) int64 {
	for _, step := range r.steps {
		if step.Name == name {
			return step.At
		}
	}
	return 0
}

func (r *record) count(name string) int {
	n := 0
	for _, step := range r.steps {
		if step.Name == name {
			n++
		}
	}
	return n
}

// ending is the last word on a transaction.
type ending struct {
	State  string   `json:"state"`
	NewPID int      `json:"new_pid"`
	Error  string   `json:"error,omitempty"`
	Hint   string   `json:"hint,omitempty"`
	Log    []string `json:"log,omitempty"`
}

func (r *record) end(e ending) error { return saveJSON(filepath.Join(r.dir, outcomeFile), e) }

func (r *record) ended() bool { return exists(filepath.Join(r.dir, outcomeFile)) }

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// outcome tells how the transaction stands.
func (r *record) outcome() (wire.SwapOutcome, error) {
	e := ending{State: wire.SwapRunning}
	if err := loadJSON(filepath.Join(r.dir, outcomeFile), &e); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return wire.SwapOutcome{}, err
	}
	out := wire.SwapOutcome{
		ID: r.plan.ID, Unit: r.plan.Request.Unit, State: e.State, Version: r.plan.Request.Version, Steps: r.steps,
		Error: e.Error, Hint: e.Hint, OldPID: r.plan.Request.MainPID, NewPID: e.NewPID, Log: e.Log,
		Stopped: r.at(stepStopping), Gone: r.at(stepStopped), Started: r.at(stepStarted), Listening: r.at(stepListening), Checked: r.at(stepChecked),
	}
	if r.has(stepBackedUp) {
		out.Backup = r.plan.Backup
	}
	for _, e := range r.plan.Edits {
		out.Edited = append(out.Edited, e.Path)
	}
	out.Paused = r.paused()
	if r.plan.Kind == kindRevert {
		out.Stopped, out.Gone, out.Started = r.at(stepReverting), r.at(stepOldStopped), r.at(stepOldStarted)
	}
	if id, err := idOf(r.plan.Previous); err == nil && id == r.plan.Back {
		out.Previous = r.plan.Previous
	}
	return out, nil
}

// records reads all transactions of all units, oldest first.
func records(swapDirs []string) ([]*record, error) {
	var dirs []string
	for _, swapDir := range swapDirs {
		some, err := filepath.Glob(filepath.Join(swapDir, "*.service", "*"))
		if err != nil {
			return nil, err
		}
		dirs = append(dirs, some...)
	}
	sort.Slice(dirs, func(i, j int) bool { return filepath.Base(dirs[i]) < filepath.Base(dirs[j]) })
	var all []*record
	for _, dir := range dirs {
		// What cannot be read has no plan yet: its prepare did not come to its end, and nothing was done.
		if r, err := readRecord(dir); err == nil {
			all = append(all, r)
		}
	}
	return all, nil
}

// unsettled lists the outcomes that nobody has acknowledged.
func unsettled(swapDirs []string) ([]wire.SwapOutcome, error) {
	all, err := records(swapDirs)
	if err != nil {
		return nil, err
	}
	var outcomes []wire.SwapOutcome
	for _, r := range all {
		if !r.has(stepCommitted) || exists(filepath.Join(r.dir, settledFile)) {
			continue
		}
		out, err := r.outcome()
		if err != nil {
			return nil, err
		}
		outcomes = append(outcomes, out)
	}
	return outcomes, nil
}

// findRecord finds a transaction by its id.
func findRecord(swapDirs []string, id string) (*record, error) {
	all, err := records(swapDirs)
	if err != nil {
		return nil, err
	}
	for _, r := range all {
		if r.plan.ID == id {
			return r, nil
		}
	}
	return nil, failure(wire.KindNotFound, "there is no swap %q on record on this host", id)
}
