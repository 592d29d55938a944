// SPDX-License-Identifier: MPL-2.0

// Command drover moves HashiCorp Nomad clusters from one version to the next, over SSH, in place, without an outage.
package main

import "os"

func main() {
	os.Exit(run(streams{in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv}, os.Args[1:]))
}
