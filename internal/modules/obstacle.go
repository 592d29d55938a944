// SPDX-License-Identifier: MPL-2.0

package modules

import "errors"

// Kinds of obstacles. They are part of what drover prints as JSON, so they do not change.
const (
	ObstacleUnreachable     = "unreachable"       // no connection: refused, timed out, no route, no name
	ObstacleHostKeyUnknown  = "host_key_unknown"  // no known_hosts file has the host's key
	ObstacleHostKeyChanged  = "host_key_changed"  // known_hosts has another key, or it is marked as revoked
	ObstacleLoginRefused    = "login_refused"     // sshd took none of the keys and passwords
	ObstacleSudoPassword    = "sudo_password"     // sudo wants a password and none was given
	ObstacleSudoWrong       = "sudo_wrong"        // sudo refused the password
	ObstacleSudoNotAllowed  = "sudo_not_allowed"  // sudoers does not let the login user do this
	ObstacleAgentNotStarted = "agent_not_started" // drover's agent found no place, or could not be started
	ObstacleMachine         = "machine"           // drover has no agent for the machine type
	ObstacleLocked          = "locked"            // another run holds the host
	ObstacleNoSystemd       = "no_systemd"        // PID 1 is not systemd
	ObstacleOther           = "other"
)

// Obstacle says why nothing can be done on a host, so that a plan can tell one reason from another and name the way on.
type Obstacle struct {
	Kind   string
	What   string // what was found, a sentence without its end
	Remedy string // what to do about it; "" when What says all
}

func (o *Obstacle) Error() string {
	if o.Remedy == "" {
		return o.What
	}
	return o.What + ": " + o.Remedy
}

// obstacleOf finds the obstacle in an error; nil when there is none.
func obstacleOf(err error) *Obstacle {
	var o *Obstacle
	if errors.As(err, &o) {
		return o
	}
	return nil
}
