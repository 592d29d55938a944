// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"fmt"
	"syscall"

	"drover/internal/wire"
)

// LeaveFlags are leave_on_interrupt and leave_on_terminate of the running process: those it read when it started.
// Neither a SIGHUP nor an edit of the configuration changes them for the next stop.
type LeaveFlags struct {
	OnInterrupt bool `json:"on_interrupt"`
	OnTerminate bool `json:"on_terminate"`
}

// SignalOptions are what the user accepted about stopping.
type SignalOptions struct {
	AllowLeave bool   // the server may leave raft, or the client drain itself
	RetryJoin  bool   // the configuration tells the server how to join again
	Stop       string // wire.StopKILL when the user asked for it, else ""
}

// SafeSignal chooses the stop signal (a wire.Stop value) that cannot make a server leave or a client drain itself.
// killSignal is the unit's KillSignal as a number. What systemd sends by itself is preferred, because then nothing of
// the unit has to be changed.
func SafeSignal(flags LeaveFlags, killSignal int, options SignalOptions) (string, []Problem) {
	if options.Stop == wire.StopKILL {
		return wire.StopKILL, nil
	}
	safeInt, safeTerm := !flags.OnInterrupt, !flags.OnTerminate
	switch {
	case killSignal == int(syscall.SIGINT) && safeInt, killSignal == int(syscall.SIGTERM) && safeTerm:
		return wire.StopUnit, nil
	case safeInt:
		return wire.StopINT, nil
	case safeTerm:
		return wire.StopTERM, nil
	}
	if options.AllowLeave {
		if options.RetryJoin {
			return wire.StopUnit, nil
		}
		return "", []Problem{{
			Text:   "the agent would leave the cluster, and its configuration has no retry_join to find the way back",
			Remedy: "add server_join { retry_join = [...] } to its configuration, or use --stop-signal KILL",
		}}
	}
	return "", []Problem{{
		Text: fmt.Sprintf("the running agent has leave_on_interrupt and leave_on_terminate set, so that neither SIGINT nor SIGTERM stops it "+
			"without leaving the cluster (unit's KillSignal: %s); the flags of the running process count, so that an edit of the configuration cannot help this stop", signalName(killSignal)),
		Remedy: "--allow-leave accepts the leave where retry_join is configured, --stop-signal KILL stops without it",
	}}
}

func signalName(number int) string {
	switch syscall.Signal(number) {
	case syscall.SIGINT:
		return "SIGINT"
	case syscall.SIGTERM:
		return "SIGTERM"
	case syscall.SIGKILL:
		return "SIGKILL"
	}
	return fmt.Sprintf("signal %d", number)
}
