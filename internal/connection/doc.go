// SPDX-License-Identifier: MPL-2.0

// Package connection reaches hosts over SSH and starts drover's agent on them.
//
// A Pool holds one SSH connection per host and, on it, one agent process per account: the login user's, and the become
// user's, started through sudo. Whoever asks first dials; whoever asks meanwhile waits for the same dial. What a host
// needs (address, keys, jump hosts, known_hosts files) comes from the Target, which says what the inventory says, and
// behind it from OpenSSH's client configuration, which the inventory overrides.
//
// The agent is stored on the host under its own hash. One command looks for it, checks it and becomes it, so that every
// run but the first costs one handshake and one exec; only when it is missing does the command say so, and the program
// is sent by SFTP. From then on the session carries package wire's protocol, and a call is one round trip.
//
// Every wait has a deadline. A peer that stops answering is noticed by keepalives and becomes a *modules.Unreachable
// that says what was waited for.
package connection
