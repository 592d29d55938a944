// SPDX-License-Identifier: MPL-2.0

// Package agentconfig reads and edits the configuration files of a Nomad agent: HCL1, or JSON where the first character
// is a brace. It works on bytes and touches no disk.
//
// A file is parsed into a tree of blocks that knows where every key and value stands (Parse). A key such as
// server.raft_protocol may be set more than once, in one file and in several; Deciding says which of them counts, by the
// rules of Nomad's own merge: files in the order in which the agent loads them, in one file the last one, then over the
// files the last one that is not zero, then the flags of the command line. Some keys are pointers or maps in Nomad, and
// there a later zero counts too.
//
// An edit (Set, Unset) splices bytes and leaves all others as they are: comments, alignment, line ends. Its result is parsed
// by Nomad's own parser and compared with what was there: nothing but the one key may differ, else there is no result.
// Edits and DropIn find out which files have to change so that a key gets a value for the whole agent.
package agentconfig
