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
	AllowLeave bool   // the server may leave raft; a client is never let go, since it would drain itself
	Client     bool   // the agent is a client, whatever else it is
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
	case killSignal == int(syscall.SIGKILL):
		// Whoever wrote the unit has accepted it for every stop.
		return wire.StopKILL, nil
	}
	if options.AllowLeave && !options.Client {
		if options.RetryJoin {
			return wire.StopUnit, nil
		}
		return "", []Problem{{
			Text:   "the agent would leave the cluster, and its configuration has no retry_join to find the way back",
			Remedy: "add server_join { retry_join = [...] } to its configuration, or use --stop-signal KILL",
		}}
	}
	leaving, remedy := "leaving the cluster", "--allow-leave accepts the leave where retry_join is configured, --stop-signal KILL stops without it"
	if options.Client {
		leaving, remedy = "leaving the cluster, before which a client with drain_on_shutdown drains itself", "--stop-signal KILL stops it without that, and its tasks go on"
	}
	return "", []Problem{{
		Text: fmt.Sprintf("the running agent has leave_on_interrupt and leave_on_terminate set, so that neither SIGINT nor SIGTERM stops it "+
			"without %s (unit's KillSignal: %s); the flags of the running process count, so that an edit of the configuration cannot help this stop", leaving, signalName(killSignal)),
		Remedy: remedy,
	}}
}

func signalName(number int) string {
	switch syscall.Signal(number) {
	case syscall.SIGINT:
		return "SIGINT"
	case syscall.SIGTERM:
		return "SIGTERM"
	case syscall.SIGHUP:
		return "SIGHUP"
	case syscall.SIGQUIT:
		return "SIGQUIT"
	}
	return fmt.Sprintf("signal %d", number)
}
