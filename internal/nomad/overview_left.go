// SPDX-License-Identifier: MPL-2.0

package nomad

import "slices"

// againRemedy is for what a run that has died left behind.
const againRemedy = "run the same drover command again: it finishes what is half done"

// leftAlone tells whether a stopped agent is meant to stay so: its unit is disabled, as that of a host which another has replaced. A server that still
// votes is not: it is missing. Nor is one that a run has yet to finish.
func (o *overviewer) leftAlone(f *HostFacts) bool {
	if !f.Disabled || f.Unfinished != "" || o.evidence.Beside[f.Host].HeldBy != "" {
		return false
	}
	for i := range o.evidence.Clusters {
		c := &clusterView{overviewer: o, ClusterEvidence: &o.evidence.Clusters[i]}
		votes := func(s RaftServer) bool {
			return s.Voter && (f.ServerID != "" && s.ID == f.ServerID || c.isAt(f, s))
		}
		if f.Server && slices.ContainsFunc(c.Answers, func(a Answer) bool { return a.Error == "" && slices.ContainsFunc(a.View.Raft.Servers, votes) }) {
			return false
		}
	}
	return true
}

// atWork is what to do about an agent that a run of drover's has stopped: not to start it beside that run. "" when none has.
func (o *overviewer) atWork(f *HostFacts) string {
	switch {
	case o.evidence.Beside[f.Host].HeldBy != "":
		return "leave it alone: wait until that run has ended, and look again; if the run hangs, end it where it was started and run the same drover command again"
	case f.Unfinished != "":
		return againRemedy
	}
	return ""
}

func (o *overviewer) holder(f *HostFacts) string {
	if held := o.evidence.Beside[f.Host].HeldBy; held != "" {
		return "; " + held
	}
	return ""
}

// busy is atWork of the first server of the region that does not run and that a run has stopped.
func (c *clusterView) busy() string {
	for _, f := range c.servers() {
		if remedy := c.atWork(f); remedy != "" && !f.Running {
			return remedy
		}
	}
	return ""
}
