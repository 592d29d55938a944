// SPDX-License-Identifier: MPL-2.0

// Package journal is the durable record of a run, and reading it back.
//
// A run has one directory (0700) with two files of its own in it (0600). plan.json is written once, before anything starts: what was
// asked, by whom, over which hosts, with which playbook and which accepted risks; see Manifest. events.jsonl is what happened: one
// event per line, appended and never rewritten, the same events that the screen shows.
//
//	{"seq":7,"version":1,"time":"...","run":"...","kind":"host_start",...,"crc":"9bc3f1e2"}
//
// seq counts the lines from 1. crc is the CRC-32C (RFC 3720, appendix B.4) of the line up to the comma before "crc", in eight hex
// digits. tail shows such a file and jq takes it apart.
//
// An event after which something may change on a host is on disk before the change begins (Writer.Commit), an outcome soon
// after it is known, and before anything else begins. Hosts that begin at the same time share one fsync. What cannot be recorded
// must not happen: a Writer that has failed once takes nothing more, and the run ends.
//
// A crash can leave the last line unfinished. A reader stops before it and says so (Journal.Torn). Anything else that does
// not check out is damage, and an error that names the line.
//
// While a run lives its Writer holds a flock on events.jsonl. A record without an end whose lock is free is of a run that died.
//
// No secret is in either file: Create masks what stands under names such as nomad_token, wherever it occurs; events come redacted.
package journal

// Names of the files in a run's directory.
const (
	PlanFile   = "plan.json"
	EventsFile = "events.jsonl"
)

// Version is that of both formats. It is raised when a reader of the former version would misunderstand a file; fields are added
// without.
const Version = 1
