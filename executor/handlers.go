// SPDX-License-Identifier: MPL-2.0

package executor

import (
	"maps"
	"slices"

	"drover/internal/event"
	"drover/playbooks"
)

// handlers are a play's handlers and who has notified them. The notifications last until the handler runs on that host.
type handlers struct {
	inOrder  []*handler
	byName   map[string]*handler
	byListen map[string][]*handler
}

type handler struct {
	name    string
	task    *playbooks.Task
	pending map[string]bool // hosts
}

// indexHandlers renders the names of the handlers. Of two with the same name the later one counts, as in Ansible.
func (p *playRun) indexHandlers(s *scope) error {
	p.handlers = handlers{byName: map[string]*handler{}, byListen: map[string][]*handler{}}
	for _, task := range p.play.Handlers {
		h := &handler{task: task, pending: map[string]bool{}}
		var err error
		if h.name, err = s.text("name", task.Name); err != nil {
			return err
		}
		p.handlers.inOrder = append(p.handlers.inOrder, h)
		if h.name == "" {
			h.name = task.Called
		} else {
			p.handlers.byName[h.name] = h
		}
		for _, topic := range task.Listen {
			p.handlers.byListen[topic] = append(p.handlers.byListen[topic], h)
		}
	}
	return nil
}

func (p *playRun) knowsHandler(name string) bool {
	_, named := p.handlers.byName[name]
	_, listened := p.handlers.byListen[name]
	return named || listened
}

func (p *playRun) handlerNames() []string {
	return slices.Sorted(maps.Keys(p.handlers.byName))
}

func (h *handlers) notify(name, host string) {
	if named, ok := h.byName[name]; ok {
		named.pending[host] = true
	}
	for _, listening := range h.byListen[name] {
		listening.pending[host] = true
	}
}

// next returns the first handler with a pending notification on one of the hosts.
func (h *handlers) next(hosts []string) (*handler, []string) {
	for _, handler := range h.inOrder {
		notified := slices.DeleteFunc(slices.Clone(hosts), func(host string) bool { return !handler.pending[host] })
		if len(notified) > 0 {
			return handler, notified
		}
	}
	return nil, nil
}

// forced tells whether handlers run on failed hosts too.
func (b *batchRun) forced() bool { return b.play.ForceHandlers || b.r.ForceHandlers }

// maxRounds bounds how often handlers may notify each other in one flush.
const maxRounds = 100

// flush runs the handlers that were notified on the hosts, in the order in which the play lists them. With
// force_handlers it does so on hosts that have failed too, as long as they can be reached, and after a stop.
func (b *batchRun) flush(hosts []string) {
	able := b.among(hosts, active)
	var failed []string
	if b.forced() {
		b.cleaning++
		defer func() { b.cleaning-- }()
		for _, host := range b.among(hosts, lost) {
			if b.r.gone[host] == event.Failed {
				failed = append(failed, host)
			}
		}
	}
	for range maxRounds {
		// Hosts that fail in a handler run no further one.
		able = b.among(able, active)
		failed = b.among(failed, lost)
		h, notified := b.handlers.next(append(slices.Clone(able), failed...))
		if h == nil || !b.mayStart() {
			return
		}
		failed = b.runHandler(h, inOrder(notified, hosts), failed)
	}
}

// runHandler runs a handler where it was notified. It returns those of the failed hosts that may run another.
func (b *batchRun) runHandler(h *handler, notified, failed []string) []string {
	for _, host := range notified {
		delete(h.pending, host)
	}
	b.stand(failed, active)
	delete(b.once, h.task) // run_once means once per flush for a handler, else a notification could be lost
	b.tasks([]*playbooks.Task{h.task}, notified)
	again := b.among(failed, active)
	b.stand(again, lost)
	return again
}

func inOrder(hosts, order []string) []string {
	return slices.DeleteFunc(slices.Clone(order), func(host string) bool { return !slices.Contains(hosts, host) })
}

// reportPending says which notifications had no effect, because their hosts failed or the play was stopped: what was
// changed there is not in force yet.
func (b *batchRun) reportPending(hosts []string) {
	for _, h := range b.handlers.inOrder {
		for _, host := range hosts {
			if !h.pending[host] {
				continue
			}
			b.r.summary.Pending = append(b.r.summary.Pending, Pending{Handler: h.name, Host: host})
			b.r.warn(b.view.name, host, "%s: handler %q was notified and did not run, because the host failed or the play was stopped before", host, h.name)
		}
	}
}
