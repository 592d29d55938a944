// SPDX-License-Identifier: MPL-2.0

package modules

import (
	"context"
	"errors"
	"slices"

	"github.com/hashicorp/nomad/api"

	"drover/internal/nomad"
	"drover/internal/release"
)

// plan surveys the inventory and plans its upgrade, with in_legs region by region and stop by stop.
func (c *cluster) plan(ctx context.Context, target nomad.Version, options nomad.Options) (nomad.Plan, error) {
	if !c.call.Args.Bool("in_legs") {
		return c.planLegs(ctx, []nomad.Survey{c.survey(ctx)}, []nomad.Version{target}, options), nil
	}
	via, err := c.via(target)
	if err != nil {
		return nomad.Plan{}, err
	}
	hand, where, err := c.atHand()
	if err != nil {
		return nomad.Plan{}, err
	}
	regions := c.regions(ctx)
	path, missing := []nomad.Version{target}, ""
	if where != "" || len(via) > 0 {
		path, missing = nomad.Path(nomad.Oldest(regions, target, options), target, via, hand, options.VersionOptions)
	}
	plan := c.planLegs(ctx, regions, path, options)
	if missing != "" {
		plan.RefuseLeg("add them there, or name stops that can be had with --via", "the way to %s leads over %s, and %s has none of the kind", target, missing, where)
	}
	if len(path) > 1 && (options.Servers || options.Clients) {
		plan.RefuseLeg("leave --servers and --clients out", "on a way of several stops servers and clients have to go together")
	}
	return plan, nil
}

// planLegs plans, makes the binaries of all legs ready, and plans again with what that has shown.
func (c *cluster) planLegs(ctx context.Context, regions []nomad.Survey, path []nomad.Version, options nomad.Options) nomad.Plan {
	plan := nomad.NewJourney(regions, path, options)
	if !namesBinary(c.call) {
		return plan
	}
	for i, leg := range plan.Parts(nil)[:len(regions)] {
		c.binaries(ctx, &regions[i], leg.Plan)
	}
	plan = nomad.NewJourney(regions, path, options)
	for _, target := range path[1:] {
		for _, machine := range plan.Architectures(regions) {
			if _, err := prepareBinary(ctx, c.call, target, machine); err != nil {
				plan.RefuseLeg("see to that, or name another source: --binary-dir DIR or --mirror URL", "there is no usable Nomad %s for %s: %v", target, machine, err)
			}
		}
	}
	return plan
}

// regions surveys the inventory region by region.
func (c *cluster) regions(ctx context.Context) []nomad.Survey {
	regions := c.lookAtAll(ctx).Regions()
	for i := range regions {
		c.askCluster(ctx, &regions[i])
	}
	if len(regions) > 1 {
		nomad.Assign(regions)
	}
	return regions
}

// gossip asks a server for the servers of its region, and for the regions that it knows. Without an answer both are empty.
func (c *cluster) gossip(ctx context.Context, client *api.Client, region string) (members []nomad.Member, regions []string) {
	all, err := nomad.AskMembers(ctx, client, "")
	if err != nil {
		return nil, nil
	}
	for _, member := range all {
		regions = append(regions, member.Tags["region"])
		if member.Tags["region"] == region {
			members = append(members, member)
		}
	}
	slices.Sort(regions)
	return members, slices.Compact(regions)
}

// via are the stops that the task names.
func (c *cluster) via(target nomad.Version) ([]nomad.Version, error) {
	var stops []nomad.Version
	for _, text := range c.call.Args.Strings("via") {
		stop, err := nomad.ParseVersion(text)
		if err != nil {
			return nil, err
		}
		stops = append(stops, stop)
	}
	if len(stops) > 0 && c.call.Args.String("binary") != "" {
		return nil, errors.New("a binary is of one version, and stops need their own: name a directory or a mirror")
	}
	return stops, nomad.CheckStops(stops, target)
}

// atHand are the versions that stops can be chosen from, and where they are; "" where there is one binary only, or none.
func (c *cluster) atHand() (hand []nomad.Version, where string, err error) {
	directory := c.call.Args.String("directory")
	switch {
	case c.call.Args.String("binary") != "" || !namesBinary(c.call):
		return nil, "", nil
	case directory == "":
		return nomad.LastPatches(), "what drover knows of the releases", nil
	}
	if directory, err = findPath(c.call, directory); err != nil {
		return nil, "", err
	}
	names, err := release.Versions(directory)
	if err != nil {
		return nil, "", err
	}
	for _, name := range names {
		if version, err := nomad.ParseVersion(name); err == nil {
			hand = append(hand, version)
		}
	}
	return hand, directory, nil
}
