// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"fmt"
	"slices"
	"time"

	"drover/internal/wire"
)

// finished brings a cluster that has a leader to the end of its recovery: the survivors that an interrupted run has not reached are started.
func (r *recovery) finished(ctx context.Context) (*Result, error) {
	late := slices.DeleteFunc(slices.Clone(r.survivors), func(s *survivor) bool { return !slices.Contains(r.plan.Start, s.call.Name) })
	for _, s := range r.survivors {
		left, err := leftovers(ctx, s.call.Host, s.facts.Unit)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.call.Name, err)
		}
		for _, outcome := range left {
			if outcome.Backup != "" {
				s.outcome = outcome
			}
		}
	}
	if err := together(late, func(s *survivor) error { return r.startLate(ctx, s) }); err != nil {
		return nil, fmt.Errorf("%w; the others go on under their leader; run again when the reason is removed", err)
	}
	leader, err := r.await(ctx)
	if err != nil {
		return nil, err
	}
	return r.result(ctx, leader, len(late) > 0)
}

// startLate starts a stopped survivor without a peers.json: the leader brings it up to date. Its configuration is edited as in a recovery,
// since raft knows it by its node id, and what it had is copied, since the leader overwrites what differs.
func (r *recovery) startLate(ctx context.Context, s *survivor) error {
	r.say("%s: its agent does not run, and an earlier recovery has not reached it; starting it", s.call.Name)
	if err := s.migration.request(); err != nil {
		return err
	}
	s.prepare.Backup = &wire.SwapBackup{From: s.facts.DataDir + "/server", Keep: backupsKept}
	prepared := time.Now()
	permission, err := s.open(ctx)
	if err != nil {
		return err
	}
	if s.outcome, err = s.commit(ctx, permission, prepared); err != nil {
		return fmt.Errorf("%s: %w", s.call.Name, err)
	}
	return s.judge(ctx, s.outcome)
}
