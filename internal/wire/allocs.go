// SPDX-License-Identifier: MPL-2.0

package wire

// AllocProcesses lists the processes that run tasks of Nomad allocations: those with NOMAD_ALLOC_ID in their
// environment, which every task driver sets. Only root sees the environment of others.
type AllocProcesses struct{}

// Op names the operation.
func (AllocProcesses) Op() string { return "alloc_processes" }

// AllocProcessesResult is sorted by allocation, task and process id.
type AllocProcessesResult struct {
	Processes []AllocProcess `json:"processes"`
}

// AllocProcess is the first process of a task: its parent does not belong to the same task. Start is field 22 of
// /proc/PID/stat, so that a process id that was used again is recognised.
type AllocProcess struct {
	Alloc string `json:"alloc"`
	Task  string `json:"task"`
	PID   int    `json:"pid"`
	Start uint64 `json:"start"`
}
