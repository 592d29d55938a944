// SPDX-License-Identifier: MPL-2.0

// Command floor is a bare Go SSH client, the floor beside which drover is measured: one connection and one exec of a command on each host,
// all at once, with checked host keys and nothing else around it.
//
//	floor USER KEY KNOWN_HOSTS COMMAND ADDRESS...
package main

import (
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	user, keyFile, known, command, hosts := args[0], args[1], args[2], args[3], args[4:]
	text, err := os.ReadFile(keyFile)
	if err != nil {
		return err
	}
	signer, err := ssh.ParsePrivateKey(text)
	if err != nil {
		return err
	}
	keys, err := knownhosts.NewDB(known)
	if err != nil {
		return err
	}
	failures := make([]error, len(hosts))
	var group sync.WaitGroup
	for i, host := range hosts {
		group.Go(func() {
			address := host + ":22"
			client, err := ssh.Dial("tcp", address, &ssh.ClientConfig{
				Config: ssh.Config{
					Ciphers:      []string{"aes128-gcm@openssh.com"},
					KeyExchanges: []string{"curve25519-sha256"},
				},
				User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)},
				HostKeyCallback:   keys.HostKeyCallback(),
				HostKeyAlgorithms: keys.HostKeyAlgorithms(address),
				Timeout:           10 * time.Second,
			})
			if err != nil {
				failures[i] = err
				return
			}
			defer client.Close()
			session, err := client.NewSession()
			if err != nil {
				failures[i] = err
				return
			}
			failures[i] = session.Run(command)
		})
	}
	group.Wait()
	for i, err := range failures {
		if err != nil {
			return fmt.Errorf("%s: %w", hosts[i], err)
		}
	}
	return nil
}
