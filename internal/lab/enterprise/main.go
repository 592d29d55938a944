// SPDX-License-Identifier: MPL-2.0

//go:build ignore

// A stand-in for Nomad Enterprise, whose binaries a lab has no licence for: Nomad itself, built from its module, that calls its version an
// Enterprise one and prints for `license inspect` what Enterprise's documentation shows. Its licences are text files of one word: valid,
// expired, or a product's name.
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	_ "github.com/hashicorp/nomad/client/allocrunner/taskrunner/getter"
	_ "github.com/hashicorp/nomad/client/allocrunner/taskrunner/template/renderer"
	_ "github.com/hashicorp/nomad/client/logmon"
	_ "github.com/hashicorp/nomad/drivers/docker/docklog"
	_ "github.com/hashicorp/nomad/drivers/shared/executor"

	"github.com/hashicorp/cli"
	"github.com/hashicorp/nomad/command"
	"github.com/hashicorp/nomad/version"
)

func main() {
	version.VersionMetadata = "ent"
	args := os.Args[1:]
	if len(args) > 1 && args[0] == "license" && args[1] == "inspect" {
		os.Exit(inspect(args[2:]))
	}
	meta := &command.Meta{}
	meta.SetupUi(args)
	ui := &cli.BasicUi{Reader: os.Stdin, Writer: os.Stdout, ErrorWriter: os.Stderr}
	program := cli.NewCLI("nomad", version.GetVersion().FullVersionNumber(true))
	program.Args, program.Commands = args, command.Commands(meta, ui)
	code, err := program.Run()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// inspect prints what `license inspect` prints.
func inspect(args []string) int {
	text, source, err := licence(args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "Error reading license: %v\n", err)
		return 1
	}
	product, expires, faults := "nomad", "2099-01-01", ""
	switch word := strings.TrimSpace(text); word {
	case "valid":
	case "expired":
		expires = "2023-01-13"
		faults = "Validation Errors:\n   * license is no longer valid\n   * license expiration date is before version build date: expiration=2023-01-13T23:59:59Z build=2025-11-11T00:00:00Z\n"
	default:
		product = word
	}
	fmt.Printf("Source: %s\nProduct: %s\nLicense ID: aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa\nCustomer ID: bbbbbbbb-bbbb-bbbb-bbbb-bbbbbbbbbbbb\nInstallation ID: *\n", source, product)
	fmt.Printf("Issue Time: 2021-12-01 17:49:23.021041516 +0000 UTC\nStart Time: 2021-12-01 00:00:00 +0000 UTC\nExpiration Time: %s 00:00:00 +0000 UTC\n", expires)
	fmt.Printf("Termination Time: %s 12:00:00 +0000 UTC\nBuild Date: 2025-11-11 00:00:00 +0000 UTC\nFlags: {\n   \"modules\": [\n      \"governance-policy\"\n   ]\n}\n\n", expires)
	if faults != "" {
		fmt.Print(faults)
		return 1
	}
	fmt.Println("License is valid")
	return 0
}

// licence reads the licence as Enterprise finds it.
func licence(args []string) (text, source string, err error) {
	path := os.Getenv("NOMAD_LICENSE_PATH")
	source = path + " (path from the NOMAD_LICENSE_PATH environment variable)"
	switch {
	case len(args) > 0:
		path, source = args[0], args[0]
	case os.Getenv("NOMAD_LICENSE") != "":
		return os.Getenv("NOMAD_LICENSE"), "NOMAD_LICENSE environment variable", nil
	case path == "":
		return "", "", errors.New("no license")
	}
	content, err := os.ReadFile(path)
	return string(content), source, err
}
