// SPDX-License-Identifier: MPL-2.0

// Command drover moves HashiCorp Nomad clusters from one version to the next, over SSH, in place, without an outage.
package main

import "os"

func main() {
	os.Exit(run(streams{os.Stdin, os.Stdout, os.Stderr, os.Getenv}, os.Args[1:]))
}
