// SPDX-License-Identifier: MPL-2.0

// Package nomad is a Nomad cluster as drover sees it. It asks and it decides, and holds the few writes of the API, such as a drain, which
// modules call for: nothing here writes because of what it has decided.
//
// The model has three layers. An AgentView is what one agent says of itself, on its own host, at one moment: that is
// the only kind of evidence that counts as "alive", because gossip goes on calling a stopped server alive for about 40
// seconds and autopilot for about as long. A cluster's own records (raft configuration, autopilot, members, nodes)
// say how it sees its members, and lag. HostFacts joins both with what the host itself shows, and is data, so that it
// travels as a fact of the playbook.
//
// Decisions are pure functions over this evidence and return the reasons against, in words: MayStop (law: quorum),
// ServerHealthy, ClientReady, SafeSignal, Leadership (law: leader last), NewPlan. An empty list of problems means yes.
// No decision reads a clock: times are part of the evidence, and are noted where it is collected.
package nomad
