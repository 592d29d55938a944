// SPDX-License-Identifier: MPL-2.0

package agent

import (
	"os/exec"
	"testing"

	"drover/internal/wire"
)

func TestAllocProcessesFindsTheFirstProcessOfATask(t *testing.T) {
	// The shell is the task's first process, cat its child with the same environment.
	command := exec.Command("/bin/sh", "-c", "echo up; cat; true")
	command.Env = []string{"PATH=/usr/bin:/bin", "NOMAD_ALLOC_ID=11111111-2222-3333-4444-555555555555", "NOMAD_TASK_NAME=web", "NOMAD_TOKEN=hush"}
	input, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { input.Close(); _ = command.Wait() }()
	if _, err := output.Read(make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	result, err := allocProcesses(t.Context(), nil, wire.AllocProcesses{})
	if err != nil {
		t.Fatal(err)
	}
	want := wire.AllocProcess{Alloc: "11111111-2222-3333-4444-555555555555", Task: "web", PID: command.Process.Pid, Start: startTicks(command.Process.Pid)}
	n := 0
	for _, process := range result.Processes {
		if process.Alloc == want.Alloc {
			n++
			if process != want {
				t.Errorf("process %+v, want %+v", process, want)
			}
		}
	}
	if n != 1 || want.Start == 0 {
		t.Errorf("%d first processes of one task: %+v", n, result.Processes)
	}
}
