// SPDX-License-Identifier: MPL-2.0

package connection

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sync/semaphore"

	"drover/internal/modules"
)

// Pool holds a run's connections. It is safe for concurrent use.
type Pool struct {
	options  Options
	configs  configs
	hostKeys hostKeys
	keys     keys
	agents   agents
	gate     *semaphore.Weighted // dials straight from here
	ctx      context.Context     // ends on Close
	cancel   context.CancelFunc
	running  sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	clients map[*ssh.Client]struct{}
	hosts   map[string]*slot[*connection]
	jumps   map[string]*slot[*jump]
}

// New makes an empty pool; nothing is dialled before Host is called.
func New(options Options) *Pool {
	options = options.withDefaults()
	ctx, cancel := context.WithCancel(context.Background())
	return &Pool{
		options: options,
		configs: configs{home: options.Home, environ: options.Environ},
		keys:    keys{passphrase: options.Passphrase},
		agents:  agents{files: options.Agents},
		gate:    semaphore.NewWeighted(int64(options.Forks)),
		ctx:     ctx,
		cancel:  cancel,
		clients: map[*ssh.Client]struct{}{},
		hosts:   map[string]*slot[*connection]{},
		jumps:   map[string]*slot[*jump]{},
	}
}

// silence is how long a peer may say nothing until it counts as dead.
func (o Options) silence() time.Duration { return o.Interval * time.Duration(o.Misses) }

// Host connects to a target and starts the agent there: as the login user or, with become, as the become user. The Host
// connects again by itself when it is used after its connection was lost; a call that was under way then is not repeated.
// Errors are *modules.Unreachable, or wrap a *wire.Error where the agent itself refused (another run holds the host).
func (p *Pool) Host(ctx context.Context, target Target, become bool) (modules.Host, error) {
	if method := target.Become.Method; become && method != "" && method != "sudo" {
		return nil, fmt.Errorf("%s: become method %q is not known: only sudo is", target.Name, method)
	}
	h := &host{pool: p, target: target, become: become}
	if _, err := h.session(ctx); err != nil {
		return nil, err
	}
	return h, nil
}

// Close ends all connections and waits for what belongs to them. Agents finish what they have in hand.
func (p *Pool) Close() error {
	p.mu.Lock()
	p.closed = true
	for client := range p.clients {
		_ = client.Close() // the peer may be gone already
	}
	p.mu.Unlock()
	p.cancel()
	p.running.Wait()
	return nil
}

// spawn runs work that ends when the pool is closed; it reports false on a closed pool.
func (p *Pool) spawn(work func(context.Context)) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.running.Go(func() { work(p.ctx) })
	return true
}

// track makes Close end a client.
func (p *Pool) track(client *ssh.Client) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clients[client] = struct{}{}
	if p.closed {
		_ = client.Close()
	}
}

func (p *Pool) untrack(client *ssh.Client) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.clients, client)
}

func (p *Pool) jumpSlot(key string) *slot[*jump] {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.jumps[key] == nil {
		p.jumps[key] = &slot[*jump]{}
	}
	return p.jumps[key]
}

func (p *Pool) hostSlot(target Target) *slot[*connection] {
	key := strings.Join([]string{target.Name, target.address(), strconv.Itoa(target.Port), target.User}, "\x00")
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hosts[key] == nil {
		p.hosts[key] = &slot[*connection]{}
	}
	return p.hosts[key]
}

// connection is one SSH connection to a host and the agents on it.
type connection struct {
	pool     *Pool
	target   Target
	settings settings
	client   *ssh.Client
	done     chan struct{} // closed when the connection has ended
	cause    error         // why, after done

	mu     sync.Mutex
	agents map[string]*slot[*session] // by user; the login user's is ""
}

func (c *connection) alive() bool {
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

// connect returns the host's connection, dialling where there is none.
func (p *Pool) connect(ctx context.Context, target Target) (*connection, error) {
	return p.hostSlot(target).get(ctx, p, (*connection).alive, func(ctx context.Context) (*connection, error) {
		s, err := p.resolve(ctx, target)
		if err != nil {
			return nil, final(err)
		}
		client, err := p.dial(ctx, &s)
		if err != nil {
			return nil, err
		}
		c := &connection{pool: p, target: target, settings: s, client: client, done: make(chan struct{}), agents: map[string]*slot[*session]{}}
		p.track(client)
		p.running.Go(func() {
			c.cause = client.Wait()
			p.untrack(client)
			close(c.done)
		})
		return c, nil
	})
}

// agent returns the agent of the login user or, with become, of the become user, starting it where there is none. Becoming
// the user who is logged in already needs no sudo.
func (c *connection) agent(ctx context.Context, become *Become) (*session, error) {
	key := ""
	if become != nil && become.user() == c.settings.user {
		become = nil
	}
	if become != nil {
		key = become.user()
	}
	c.mu.Lock()
	agents := c.agents[key]
	if agents == nil {
		agents = &slot[*session]{}
		c.agents[key] = agents
	}
	c.mu.Unlock()
	return agents.get(ctx, c.pool, (*session).alive, func(ctx context.Context) (*session, error) {
		ctx, cancel := withTimeout(ctx, c.pool.options.Start, "the agent")
		defer cancel()
		return c.openSession(ctx, become)
	})
}
