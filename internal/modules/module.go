// SPDX-License-Identifier: MPL-2.0

// Package modules holds what a task can do. Each module is one entry of one literal table (Table): its arguments, its
// documentation, how it behaves in check mode and the function that does it are declared together, and playbooks read
// the same entry to check a task before anything runs. A module reaches a machine only through Host.
package modules

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"

	"drover/internal/expression"
	"drover/internal/wire"
)

// Host is a machine as a module sees it: one account on one host. Dry run, recording, redaction and injected faults
// wrap it.
type Host interface {
	// Name is the inventory name.
	Name() string
	// Call asks the agent for one operation. body, where not nil, travels after the request; reply is decoded into.
	// An error of the operation itself is a *wire.Error, a lost connection an *Unreachable.
	Call(ctx context.Context, request wire.Request, body io.Reader, reply any) error
	// Receive is Call for operations whose reply has a body, which is copied to into.
	Receive(ctx context.Context, request wire.Request, reply any, into io.Writer) error
	// Dial connects to an address from the host.
	Dial(ctx context.Context, network, address string) (net.Conn, error)
}

// Unreachable says that the connection to a host could not be made or was lost.
type Unreachable struct {
	Host string
	Err  error
}

func (u *Unreachable) Error() string { return u.Host + ": " + u.Err.Error() }

func (u *Unreachable) Unwrap() error { return u.Err }

// What a module must remember between tasks of a run it returns as facts (Result.Facts): they are data, so they can be
// recorded, and any host's facts are read back through Fleet.Variable.

// Fleet is the run's other hosts, for modules that ask the whole cluster before they touch one member.
type Fleet interface {
	// Names lists the hosts of a group, or with "all" every host of the run's inventory, in inventory order.
	Names(group string) []string
	// Host connects (once per host and account) to a host as root when become is set, else as its login user.
	Host(ctx context.Context, name string, become bool) (Host, error)
	// Variable looks a variable up as a task on that host would see it; undefined is (nil, false).
	Variable(host, name string) (any, bool)
}

// Kind is the type of an argument.
type Kind string

// Kinds of arguments. A template that renders to the kind is accepted everywhere.
const (
	String   Kind = "string"
	Integer  Kind = "integer"
	Number   Kind = "number"
	Boolean  Kind = "boolean"
	Path     Kind = "path"
	List     Kind = "list" // of any
	Dict     Kind = "dict"
	Mode     Kind = "mode"     // a file mode: "0644" as text or an octal integer
	Duration Kind = "duration" // seconds as a number, or text such as 90s, 5m
	Any      Kind = "any"
	Raw      Kind = "raw" // an expression or list of them, evaluated by the module (assert's that)
)

// Arg declares one argument.
type Arg struct {
	Name     string
	Kind     Kind
	Required bool
	Default  any // of the kind; nil: none
	Choices  []string
	Aliases  []string
	Secret   bool // never shown
	Doc      string
}

// CheckMode says what a module does under --check.
type CheckMode string

// How modules behave under --check.
const (
	CheckFull    CheckMode = "full"    // predicts what it would change and changes nothing
	CheckReads   CheckMode = "reads"   // only ever reads, so it runs as always
	CheckSkipped CheckMode = "skipped" // cannot predict, so it is skipped
)

// Module is one entry of the table.
type Module struct {
	Name     string
	Aliases  []string // ansible.builtin.NAME needs no alias
	Short    string   // one line
	Doc      string   // paragraphs
	Args     []Arg
	FreeForm string // the argument that takes `module: text`, "" when there is none
	// Exclusive are sets of arguments of which a call may give at most one.
	Exclusive [][]string
	// Open modules take any further argument, whose name is the name of a variable (set_fact).
	Open  bool
	Check CheckMode
	Diff  bool // shows a diff under --diff
	// Local modules need no connection: they run on the bastion (debug, set_fact, assert, fail, pause).
	Local bool
	// Idle modules only let time pass: the first interrupt of a run, which lets other modules finish, ends them.
	Idle bool
	// Returns documents the keys of the result.
	Returns []Arg
	Example string // YAML
	Run     func(ctx context.Context, call *Call) (*Result, error)
}

// Call is one execution of a module for one host.
type Call struct {
	Host  Host   // nil for Local modules
	Name  string // the inventory name of the host that the task is for
	Args  Args
	Check bool
	Diff  bool
	Fleet Fleet
	// Vars are the variables of the task, for modules that evaluate expressions (assert) or read connection settings.
	Vars expression.Scope
	// Evaluate evaluates an expression without braces in the task's variables.
	Evaluate func(ctx context.Context, source string) (any, error)
	// Say tells the person what the module is waiting for; it is cheap and may be called often.
	Say func(format string, args ...any)
	// Files finds a file that a task names: beside the playbook, in its files/ directory, or absolute.
	Files func(name string) (string, error)
	// Become tells whether the task runs as root; Local modules that ask hosts through Fleet pass it on.
	Become bool
	// Environment is the keyword environment: variables for the processes that the task starts on the host.
	Environment map[string]string
	// Interrupted is closed by the first interrupt of the run: what has not begun to change anything gives up then. Nil: never.
	Interrupted <-chan struct{}
	Run         Run
}

// Run is what holds for the whole run.
type Run struct {
	ID          string
	Directory   string                                // of this run, 0700, for snapshots and backups; made on first use
	Cache       string                                // kept between runs, 0700, for binaries; "": in Directory
	Releases    string                                // base URL that Nomad is fetched from where a task names no source; "": a task has to
	Proxy       func(*http.Request) (*url.URL, error) // of the bastion, for fetching; nil: none
	Holder      string                                // who runs it
	Environment func(name string) string              // of the bastion, NOMAD_* only
	Turn        *Turn                                 // set by the executor: what only one task of the run may do at a time
	Sightings   *Sightings                            // set by the executor: what the run saw of hosts that are not its own
}

// Result is what a module did.
type Result struct {
	Changed bool
	Failed  bool // with Message as the reason; an error returned from Run does the same
	Skipped bool
	Message string
	Data    *expression.Map // further keys of the registered result
	Facts   *expression.Map // become host facts (set_fact, nomad_facts)
	Groups  []string        // the host joins these groups for the rest of the run
	Diff    string          // unified
	Secret  bool            // show nothing of Data
}
