// SPDX-License-Identifier: MPL-2.0

package executor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"drover/internal/event"
	"drover/internal/expression"
	"drover/internal/modules"
	"drover/internal/secret"
	"drover/inventory"
	"drover/playbooks"
)

// defaultForks is how many hosts run a task at the same time when nothing else is said, as in Ansible.
const defaultForks = 5

// Options are what a run is made of.
type Options struct {
	Playbook  *playbooks.Playbook
	Inventory *inventory.Inventory
	// InventoryDir is the variable inventory_dir.
	InventoryDir string
	// Limit narrows every play to the hosts that this pattern also names; "" is no limit.
	Limit string
	// ExtraVars (-e) beat every other variable.
	ExtraVars *expression.Map
	// Tags and SkipTags choose tasks; the words always, never, tagged, untagged and all mean what they do in Ansible.
	Tags, SkipTags []string
	// StartAt skips every task before the one with this name; "" begins at the beginning.
	StartAt string
	Check   bool
	Diff    bool
	// Forks bounds how many hosts run a task at the same time; 0 is defaultForks.
	Forks         int
	ForceHandlers bool
	// Become is the run's default where a task does not say (-b), BecomeUser the account, "" is root.
	Become     bool
	BecomeUser string
	Connect    Connector
	Sink       event.Sink
	// Secrets are texts that no event shows. The run adds what KeepSecrets finds, and what turns up while it goes on. Nil: there are no others.
	Secrets *secret.Redactor
	// Run is handed to modules.
	Run modules.Run
	// Now is the clock of the events; nil is time.Now.
	Now func() time.Time
	// Abort, when done, cancels the modules that are running (the second Ctrl-C). The context given to Run only keeps
	// further steps from starting (the first Ctrl-C). Nil: nothing cancels a running module.
	Abort context.Context
	// LeaderLast puts hosts into the order in which servers are to be restarted, that which leads the cluster now last, for
	// `order: leader_last`; nil when nobody knows who leads. It is asked before each batch. Nil, or a nil answer: the fact nomad.leader decides.
	LeaderLast func(ctx context.Context, fleet modules.Fleet, run modules.Run, become bool, hosts []string) ([]string, error)
	// Files finds a file that a task names; it is handed to modules.
	Files func(name string) (string, error)
	// Lookup answers lookup(WHAT, NAME) in expressions; nil: it is refused.
	Lookup func(what, name string) (any, error)
	// MadeGroups are groups that modules of this run may make. A play over one of them may be empty: then there was
	// nothing to do.
	MadeGroups []string
	// Seed decides `order: shuffle`; the same seed gives the same order.
	Seed uint64
}

// Connection says how a task wants to reach a host.
type Connection struct {
	Become     bool
	BecomeUser string // "" is root
	RemoteUser string // "" is the inventory's
	// Vars looks up the host's variables (ansible_host, ansible_user, ...), rendered; undefined is (nil, false).
	Vars func(name string) (any, bool)
}

// Connector makes connections. It is called once per host and account while the connection lives; what it returns may be used
// by several tasks at once. A host that cannot be reached is a *modules.Unreachable error.
type Connector interface {
	Connect(ctx context.Context, host string, settings Connection) (modules.Host, error)
}

// check refuses options that cannot work, before anything is touched.
func (o *Options) check() error {
	var problems []error
	missing := func(absent bool, what string) {
		if absent {
			problems = append(problems, fmt.Errorf("no %s given", what))
		}
	}
	missing(o.Playbook == nil, "playbook")
	missing(o.Inventory == nil, "inventory")
	missing(o.Connect == nil, "connector")
	missing(o.Sink == nil, "sink for events")
	if o.Forks < 0 {
		problems = append(problems, fmt.Errorf("forks must be at least 1, not %d", o.Forks))
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	for _, play := range o.Playbook.Plays {
		problems = append(problems, o.checkPlay(play))
	}
	return errors.Join(problems...)
}

func (o *Options) checkPlay(play *playbooks.Play) error {
	if orders := playbooks.Orders(); play.Order != "" && !slices.Contains(orders, play.Order) {
		return fmt.Errorf("%s: order %q is unknown; it is one of %s", play.At, play.Order, strings.Join(orders, ", "))
	}
	return nil
}
