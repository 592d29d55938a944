// SPDX-License-Identifier: MPL-2.0

package wire

// Unit asks systemd about a unit, over D-Bus.
type Unit struct {
	Name string `json:"name"`
}

// Op names the operation.
func (Unit) Op() string { return "unit" }

// UnitState is what systemd says of a unit; names are those of `systemctl show`.
type UnitState struct {
	Name             string   `json:"name"`
	LoadState        string   `json:"load_state"`   // loaded, not-found, masked, ...
	ActiveState      string   `json:"active_state"` // active, inactive, failed, activating, deactivating
	SubState         string   `json:"sub_state"`
	UnitFileState    string   `json:"unit_file_state"` // enabled, disabled, ...
	Result           string   `json:"result"`
	Type             string   `json:"type"`
	MainPID          int      `json:"main_pid"`
	NRestarts        int      `json:"n_restarts"`
	InvocationID     string   `json:"invocation_id"`
	KillMode         string   `json:"kill_mode"`
	KillSignal       int      `json:"kill_signal"`
	SendSIGKILL      bool     `json:"send_sigkill"`
	Restart          string   `json:"restart"`
	User             string   `json:"user"`
	Group            string   `json:"group"`
	FragmentPath     string   `json:"fragment_path"`
	DropInPaths      []string `json:"drop_in_paths,omitempty"`
	NeedDaemonReload bool     `json:"need_daemon_reload"`
	ExecStart        []string `json:"exec_start,omitempty"` // argv of the first command
	ExecStartPath    string   `json:"exec_start_path,omitempty"`
	ExecStartPre     bool     `json:"exec_start_pre"`          // there is one, so a start takes longer than the agent itself
	ExecStop         bool     `json:"exec_stop"`               // there is one, which a stop runs before it sends any signal
	RefuseManual     string   `json:"refuse_manual,omitempty"` // RefuseManualStart or RefuseManualStop where the unit has it set
	EnvironmentFiles []string `json:"environment_files,omitempty"`
	TimeoutStartUSec uint64   `json:"timeout_start_usec"`
	TimeoutStopUSec  uint64   `json:"timeout_stop_usec"`
	ActiveEnterUSec  uint64   `json:"active_enter_usec"` // realtime, microseconds
}

// UnitControl changes a unit's state and waits for the job's result.
type UnitControl struct {
	Name         string `json:"name"`
	State        string `json:"state,omitempty"` // started, stopped, restarted, reloaded
	Enabled      *bool  `json:"enabled,omitempty"`
	Masked       *bool  `json:"masked,omitempty"`
	DaemonReload bool   `json:"daemon_reload,omitempty"`
	Check        bool   `json:"check,omitempty"`
	// Unguarded allows it for a unit that runs Nomad; without it the agent refuses and names the right module.
	Unguarded bool `json:"unguarded,omitempty"`
	// Until is the host's uptime, in seconds as FactsResult has it, after which it is refused with KindStale: a connection that stalls must not
	// deliver an old permission to stop. 0: no limit.
	Until float64 `json:"until,omitempty"`
}

// Op names the operation.
func (UnitControl) Op() string { return "unit_control" }

// UnitControlResult is the state before and after.
type UnitControlResult struct {
	Changed bool      `json:"changed"`
	Before  UnitState `json:"before"`
	After   UnitState `json:"after"`
}

// UnitLog asks for the last lines that a unit wrote to the systemd journal.
type UnitLog struct {
	Name  string `json:"name"`
	Lines int    `json:"lines"` // at most 1000
}

// Op names the operation.
func (UnitLog) Op() string { return "unit_log" }

// UnitLogResult holds whole lines, oldest first, control characters removed.
type UnitLogResult struct {
	Lines []string `json:"lines"`
}

// Signal sends a signal to the main process of a unit, if it is still the process that the caller saw.
type Signal struct {
	Unit   string `json:"unit"`
	PID    int    `json:"pid"`
	Signal int    `json:"signal"`
}

// Op names the operation.
func (Signal) Op() string { return "signal" }

// Agent asks about the Nomad agent that a unit runs, without any API: unit, process, files and sockets.
type Agent struct {
	Unit string `json:"unit"`
}

// Op names the operation.
func (Agent) Op() string { return "agent" }

// AgentResult is what the host itself shows of a Nomad agent.
type AgentResult struct {
	Unit    UnitState `json:"unit"`
	Running bool      `json:"running"`
	// Cmdline of the running process, empty when none runs.
	Cmdline []string `json:"cmdline,omitempty"`
	// Exe is where /proc/PID/exe points; Deleted says that the file has been replaced since.
	Exe        string `json:"exe,omitempty"`
	ExeDeleted bool   `json:"exe_deleted"`
	ExeInode   uint64 `json:"exe_inode"`
	ExeDevice  uint64 `json:"exe_device"`
	// ExeVersion is what the running image itself prints for `version` (run through /proc/PID/exe).
	ExeVersion string `json:"exe_version,omitempty"`
	StartTicks uint64 `json:"start_ticks"` // field 22 of /proc/PID/stat
	// Binary is the file that the next start will run (ExecStart, symlinks resolved; as ExecStart has it where that leads nowhere).
	Binary        string     `json:"binary"`
	BinaryStat    StatResult `json:"binary_stat"`
	BinaryVersion string     `json:"binary_version,omitempty"` // first line of `BINARY version`
	// Link is the symbolic link that names Binary where ExecStart does not name it itself; a swap switches it.
	Link string `json:"link,omitempty"`
	// Package is the package that owns Binary (or Link), as "nomad (dpkg)"; empty when none does.
	Package string `json:"package,omitempty"`
	// SharedBy are other agents that run Binary or would at their next start: "nomad-b.service (process 812)".
	SharedBy []string `json:"shared_by,omitempty"`
	// Refusals are what else keeps a swap from exchanging Binary as things are, each with its hint.
	Refusals []*Error `json:"refusals,omitempty"`
	// ReadOnly says that the filesystem of Binary is mounted read-only.
	ReadOnly bool `json:"read_only,omitempty"`
	// Environment are the names, never the values, of the variables that the unit sets, sorted.
	Environment []string `json:"environment,omitempty"`
	// ConfigPaths are the values of -config in ExecStart, in order.
	ConfigPaths []string `json:"config_paths,omitempty"`
	ConfigFiles []string `json:"config_files,omitempty"`
	// ExtraFlags says that ExecStart has flags besides -config, so that `config validate` does not see all of the configuration.
	ExtraFlags bool `json:"extra_flags"`
	// DataDir as far as the command line or configuration text shows it; the running agent's own answer is better.
	DataDir string `json:"data_dir,omitempty"`
	// Listening are the TCP sockets that the main process listens on, "ip:port", sorted; wildcards as 0.0.0.0 or [::].
	Listening []string `json:"listening,omitempty"`
	FreeBytes int64    `json:"free_bytes"` // on the filesystem of Binary
	// StageFreeBytes is the free space where a new binary is staged; -1 when that is the filesystem of Binary.
	StageFreeBytes int64 `json:"stage_free_bytes"`
}
