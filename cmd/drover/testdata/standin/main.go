// SPDX-License-Identifier: MPL-2.0

// The stand-in passes for a Nomad binary up to the moment when the agent starts: it prints a version and accepts every
// configuration, and its agent says a few lines and ends.
package main

import (
	"fmt"
	"os"
	"strings"
)

var version = "0.0.0"

func main() {
	args := strings.Join(os.Args[1:], " ")
	switch {
	case args == "version":
		fmt.Println("Nomad v" + version)
	case strings.HasPrefix(args, "config validate "):
		fmt.Println("Configuration is valid!")
	case strings.HasPrefix(args, "agent "):
		for line := range 30 {
			fmt.Printf("the stand-in's line %d\n", line+1)
		}
		os.Exit(1)
	default:
		os.Exit(127)
	}
}
