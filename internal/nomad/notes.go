// SPDX-License-Identifier: MPL-2.0

package nomad

// ClusterNotes is what the notes of versions ask of the cluster and its jobs.
type ClusterNotes struct{}

// notes applies what Nomad's upgrade notes say of the versions between the running ones and the target.
func (p *planner) notes(survey Survey) {}
