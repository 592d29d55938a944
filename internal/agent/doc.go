// SPDX-License-Identifier: MPL-2.0

// Package agent is the half of drover that runs on a host: a loop that answers calls, and the operations it offers.
//
// One agent serves one connection. It prints its marker, then speaks yamux on its stdin and stdout; package wire says
// how a call looks. It has no state of its own that matters: whatever it says, it has just asked the kernel or systemd.
// What it does keep (hashes of files, versions of binaries) is keyed by inode and times and may be deleted at any time.
//
// The exception is the swap, the transaction that exchanges the Nomad binary of a unit and restarts it. That one must
// survive the death of the connection and of the agent, so it runs as a transient systemd service of its own with its
// record on disk; see transaction.
package agent
