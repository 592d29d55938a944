// SPDX-License-Identifier: MPL-2.0

package wire

// Stage lands a new binary in drover's own directory on the host, under the hash of its content, runs it there as the unit's user, and checks the configuration with it. The bytes are the call's body
// (empty when a file with this hash is already staged). Nothing of the user's is touched.
type Stage struct {
	Unit     string `json:"unit"`
	Size     int64  `json:"size"`               // of the binary, uncompressed
	SHA256   string `json:"sha256"`             // of the binary
	Version  string `json:"version"`            // what `version` must print, as 1.11.0 or 1.11.0+ent
	Encoding string `json:"encoding,omitempty"` // "" or "zstd"
	Check    bool   `json:"check,omitempty"`    // only say whether it is staged already
	// License asks to have the licence of an Enterprise server inspected with the staged binary; nil: not.
	License *License `json:"license,omitempty"`
}

// License says where a server's configuration has its Enterprise licence.
type License struct {
	Path string `json:"path"` // license_path; "" where it names none, and the unit's environment decides
}

// LicenseResult is what the staged binary said of the licence.
type LicenseResult struct {
	Source string   `json:"source"` // where the licence is; "" when nothing names one
	RC     int      `json:"rc"`     // proves nothing: a binary without licences exits with 0 too
	Lines  []string `json:"lines"`  // without ids, and never the licence itself
}

// Op names the operation.
func (Stage) Op() string { return "stage" }

// StageResult says where the binary is and what trying it showed.
type StageResult struct {
	Changed  bool     `json:"changed"`
	NeedBody bool     `json:"need_body"` // nothing staged with this hash: call again with the bytes
	Path     string   `json:"path"`      // in drover's own directory: stage/SHA256/nomad
	Version  string   `json:"version"`   // first line that it printed
	Validate string   `json:"validate"`  // ok, warned, absent: how `config validate` went
	Warnings []string `json:"warnings,omitempty"`
	// License is nil when nobody asked for it.
	License *LicenseResult `json:"license,omitempty"`
}

// Swap stop signals.
const (
	StopUnit = ""     // the unit's own KillSignal
	StopINT  = "INT"  // SIGINT, by a runtime drop-in
	StopTERM = "TERM" // SIGTERM, by a runtime drop-in
	StopKILL = "KILL" // SIGKILL, by a runtime drop-in
)

// SwapPrepare checks, on the host, that a swap can be done, brings the staged binary beside the installed one, and then opens a
// permission of five seconds. The same transaction restarts an agent without another binary, and changes files while it is stopped.
type SwapPrepare struct {
	Unit    string `json:"unit"`
	Staged  string `json:"staged"`   // path that Stage returned; "": the binary stays, the agent is only restarted
	SHA256  string `json:"sha256"`   // of the staged binary
	Version string `json:"version"`  // of the staged binary
	MainPID int    `json:"main_pid"` // what the caller saw; 0: no process is expected
	Signal  string `json:"signal"`   // StopUnit, StopINT, StopTERM or StopKILL
	Server  bool   `json:"server"`   // takes part in raft: the old binary comes back only if server/raft was not touched
	Client  bool   `json:"client"`   // has a client state database, which is kept and comes back with the old binary
	DataDir string `json:"data_dir"`
	// Listen are the TCP ports (RPC and HTTP) that the new process must listen on.
	Listen []int `json:"listen,omitempty"`
	// Hold keeps the copies that a revert needs until SwapSettle says that the new agent has registered, which
	// only the API can tell.
	Hold bool `json:"hold,omitempty"`
	// Place asks for no permission: it brings the new binary beside the installed one ahead of time, so that the preparation that
	// follows takes none. It is removed when the connection ends without a commit.
	Place bool `json:"place,omitempty"`
	// Backup is copied while no agent runs; nil: nothing is.
	Backup *SwapBackup `json:"backup,omitempty"`
	// Edits are made, all of them and in this order, while no agent runs.
	Edits []SwapEdit `json:"edits,omitempty"`
	// PauseMS is how long the transaction waits, stopped and edited, for SwapContinue before it starts the agent in any case, in
	// milliseconds, at most SwapLongestPause; 0: it does not wait. The commit is answered as soon as it waits.
	PauseMS int64 `json:"pause_ms,omitempty"`
}

// SwapLongestPause bounds PauseMS, in milliseconds.
const SwapLongestPause = 5 * 60 * 1000

// SwapBackup is a directory to copy beside itself, as NAME.drover-backup-ID with the transaction's id, with owners, modes and extended
// attributes.
type SwapBackup struct {
	From string `json:"from"` // absolute
	Keep int    `json:"keep"` // how many such copies stay, this one included; at least 1
}

// SwapEdit is one file to write or to remove. It keeps owner, mode and extended attributes where Like is "".
type SwapEdit struct {
	Path    string `json:"path"`
	Content []byte `json:"content,omitempty"`
	Remove  bool   `json:"remove,omitempty"`
	// Like is a file whose owner, mode and extended attributes it gets; "": its own, for a new file root's with mode 0644.
	Like string `json:"like,omitempty"`
	// Before is the SHA-256 of the content that the file must have, lower-case hex; "": there must be no such file.
	Before string `json:"before"`
}

// Op names the operation.
func (SwapPrepare) Op() string { return "swap_prepare" }

// SwapPrepareResult is the permission.
type SwapPrepareResult struct {
	Token  string `json:"token"`
	TookMS int64  `json:"took_ms"` // how long the preparation took
}

// SwapPermission is how long a prepared swap may be committed, in milliseconds: a stalled connection must not
// deliver an old permission.
const SwapPermission = 5000

// SwapCommit starts the prepared transaction and waits for its first check, or for its pause.
type SwapCommit struct {
	Token string `json:"token"`
}

// Op names the operation.
func (SwapCommit) Op() string { return "swap_commit" }

// SwapContinue ends the pause of a transaction and waits for its first check. For one that has gone on, or ended, it only waits.
type SwapContinue struct {
	ID string `json:"id"` // the transaction's
}

// Op names the operation.
func (SwapContinue) Op() string { return "swap_continue" }

// SwapRevert brings the old binary and, for a client, its state database back, as a transaction like the swap. The
// agent refuses it for a server whose raft directory the new binary has touched, and for a transaction that has edited files.
type SwapRevert struct {
	ID string `json:"id"` // the transaction's
}

// Op names the operation.
func (SwapRevert) Op() string { return "swap_revert" }

// SwapSettle says that the outcome is known and good (or handled): copies kept for a revert may go, the outcome is not reported again.
type SwapSettle struct {
	ID string `json:"id"`
}

// Op names the operation.
func (SwapSettle) Op() string { return "swap_settle" }

// States of a transaction.
const (
	SwapRunning   = "running"   // still at work in its own service
	SwapDone      = "done"      // the new binary runs, first check passed
	SwapReverted  = "reverted"  // the old binary runs again
	SwapFailed    = "failed"    // the new binary stays, the agent is not well: a person must look
	SwapUntouched = "untouched" // nothing was stopped
)

// SwapOutcome is how a transaction stands. Times are Unix nanoseconds on the host.
type SwapOutcome struct {
	ID       string     `json:"id"`
	Unit     string     `json:"unit"`
	State    string     `json:"state"`
	Version  string     `json:"version"`
	Steps    []SwapStep `json:"steps"`
	Error    string     `json:"error,omitempty"`
	Hint     string     `json:"hint,omitempty"`
	OldPID   int        `json:"old_pid"`
	NewPID   int        `json:"new_pid"`
	Previous string     `json:"previous,omitempty"` // where the old binary is kept
	Backup   string     `json:"backup,omitempty"`   // where the directory was copied to, once it was
	Edited   []string   `json:"edited,omitempty"`   // the files that it changes
	Paused   bool       `json:"paused,omitempty"`   // it waits for SwapContinue, the agent is stopped
	Stopped  int64      `json:"stopped"`            // when the stop job was queued
	Gone     int64      `json:"gone"`               // when the old process was gone
	Started  int64      `json:"started"`            // when the start job had succeeded
	// Listening is when the new process was first seen to be up, with its ports.
	Listening int64    `json:"listening"`
	Checked   int64    `json:"checked"`       // when the first check had passed
	Log       []string `json:"log,omitempty"` // the unit's last lines when it did not come up
}

// SwapStep is one line of the transaction's record on disk.
type SwapStep struct {
	Name string `json:"name"`
	At   int64  `json:"at"` // Unix nanoseconds
	Note string `json:"note,omitempty"`
}
