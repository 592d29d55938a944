// SPDX-License-Identifier: MPL-2.0

// Package playbooks reads the playbook language: a dialect of Ansible's. It parses and checks, with file, line and
// column in every error, and never connects to anything. A name that is not known (keyword, module, argument, filter) is
// refused here, before a run touches a host.
package playbooks

import (
	"drover/internal/expression"
	"drover/internal/modules"
)

// Playbook is one parsed and checked file.
type Playbook struct {
	File  string
	Plays []*Play
}

// Play maps hosts to tasks.
type Play struct {
	At                expression.Position
	Name              *Value   // nil: none
	Hosts             *Value   // text or list of patterns
	Serial            []*Value // each renders to an integer or "N%"; empty: all hosts in one batch
	Order             string   // inventory (default), reverse_inventory, sorted, reverse_sorted, shuffle, leader_last
	MaxFailPercentage *Value
	AnyErrorsFatal    bool
	ForceHandlers     bool
	Vars              *Value // dictionary
	VarsFiles         []*Value
	Inherited
	PreTasks  []*Task
	Tasks     []*Task
	PostTasks []*Task
	Handlers  []*Task
}

// Inherited are the keywords that a play gives to its blocks and tasks, and a block to its tasks. The parser has already applied the
// inheritance: a task's own fields hold what is in force.
type Inherited struct {
	Become            *Value // nil: the run's default
	BecomeUser        *Value
	RemoteUser        *Value
	Environment       *Value                   // dictionary
	Tags              []string                 // own and inherited
	When              []*expression.Expression // own and inherited, outermost first
	IgnoreErrors      *Value
	IgnoreUnreachable *Value
	NoLog             *Value
	CheckMode         *Value // nil: the run's mode
	Diff              *Value
	Throttle          *Value
	Timeout           *Value // seconds
	RunOnce           *Value
	DelegateTo        *Value
	TaskVars          []*Value // dictionaries of blocks and the task, outermost first (the play's vars are not among them)
}

// Task is one step, or a block of steps when Block is not nil.
type Task struct {
	At   expression.Position
	Name *Value // nil: none
	Inherited

	Block  []*Task
	Rescue []*Task
	Always []*Task

	// Meta is the action of a `meta` task, which the executor does itself: flush_handlers, end_play, end_host, noop or
	// clear_host_errors. Empty: none.
	Meta string

	Module *modules.Module // nil for a block and a meta task
	// Called is the module's name as written.
	Called string
	// Args by canonical argument name. Arguments of kind Raw hold expressions as text.
	Args map[string]*Value
	// ArgsAll is an expression that gives all arguments at once (args: "{{ x }}"); nil: none.
	ArgsAll *Value

	Loop        *Value // nil: no loop; renders to a list
	LoopFlatten bool   // with_items: lists among the items are taken apart, one level deep
	LoopControl LoopControl
	Register    string
	Until       []*expression.Expression
	Retries     *Value // default 3 when Until is given
	Delay       *Value // seconds, default 5
	ChangedWhen []*expression.Expression
	FailedWhen  []*expression.Expression
	Notify      []*Value // handler names
	Listen      []string // handlers only
}

// LoopControl tunes a loop.
type LoopControl struct {
	LoopVar  string // default item
	IndexVar string
	Label    *Value
	Pause    *Value // seconds
}

// Value is a YAML value with the templates in it parsed.
type Value struct {
	At expression.Position
	// Exactly one of these is meaningful, by Form.
	Form     Form
	Static   any                  // a scalar without template
	Template *expression.Template // a text with {{ }} or {% %}
	Items    []*Value
	Pairs    []Pair
}

// Form tells what a Value is.
type Form int

// Forms of a Value.
const (
	FormStatic Form = iota
	FormTemplate
	FormList
	FormDict
)

// Pair is one entry of a dictionary.
type Pair struct {
	Key   string
	At    expression.Position
	Value *Value
}
