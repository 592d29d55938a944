// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"drover/internal/printable"
	"drover/internal/wire"
)

// maxAllocProcesses bounds the answer.
const maxAllocProcesses = 20000

// allocProcesses reads /proc. Of a process's environment, which holds secrets, only the two names are kept.
func allocProcesses(ctx context.Context, _ *call, _ wire.AllocProcesses) (wire.AllocProcessesResult, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return wire.AllocProcessesResult{}, fmt.Errorf("list processes: %w", err)
	}
	found := map[int]wire.AllocProcess{}
	parents := map[int]int{}
	for _, entry := range entries {
		if err := ctx.Err(); err != nil {
			return wire.AllocProcessesResult{}, err
		}
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || len(found) >= maxAllocProcesses {
			continue
		}
		process, ok := taskOf(pid)
		if !ok {
			continue
		}
		// Without a start time the process has ended in between.
		if process.Start = startTicks(pid); process.Start != 0 {
			found[pid], parents[pid] = process, parentOf(pid)
		}
	}
	var result wire.AllocProcessesResult
	for pid, process := range found {
		parent, ok := found[parents[pid]]
		if ok && parent.Alloc == process.Alloc && parent.Task == process.Task {
			continue
		}
		result.Processes = append(result.Processes, process)
	}
	slices.SortFunc(result.Processes, func(a, b wire.AllocProcess) int {
		return cmp.Or(cmp.Compare(a.Alloc, b.Alloc), cmp.Compare(a.Task, b.Task), cmp.Compare(a.PID, b.PID))
	})
	return result, nil
}

// taskOf reads which task a process belongs to. Processes come and go, so one that cannot be read is none.
func taskOf(pid int) (wire.AllocProcess, bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil || !bytes.Contains(text, []byte("NOMAD_ALLOC_ID=")) {
		return wire.AllocProcess{}, false
	}
	process := wire.AllocProcess{PID: pid}
	for _, pair := range splitNull(text) {
		if value, ok := strings.CutPrefix(pair, "NOMAD_ALLOC_ID="); ok {
			process.Alloc = printable.Text(value)
		}
		if value, ok := strings.CutPrefix(pair, "NOMAD_TASK_NAME="); ok {
			process.Task = printable.Text(value)
		}
	}
	return process, process.Alloc != ""
}

// parentOf is field 4 of /proc/PID/stat.
func parentOf(pid int) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 2 {
		return 0
	}
	parent, _ := strconv.Atoi(fields[1])
	return parent
}
