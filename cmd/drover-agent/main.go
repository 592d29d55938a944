// SPDX-License-Identifier: MPL-2.0

// The drover-agent runs on a host for as long as drover is connected to it, and as the service that swaps a binary.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"drover/internal/agent"
	"drover/internal/wire"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "drover-agent:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	verb := "serve"
	if len(args) > 0 {
		verb = args[0]
	}
	switch {
	case verb == "serve" && len(args) <= 1:
		return serve()
	case verb == "swap" && len(args) == 2:
		// Once begun, a swap is finished: what asks it politely to end gets no answer.
		catch(syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM)
		return agent.Swap(context.Background(), args[1])
	case verb == "version" && len(args) == 1:
		fmt.Println(wire.Marker())
		return nil
	}
	return errors.New("usage: drover-agent [serve | swap RECORD | version]")
}

// catch makes signals have no effect. They are not ignored: programs that the agent starts would inherit that.
func catch(signals ...os.Signal) {
	signal.Notify(make(chan os.Signal, 1), signals...)
}

func serve() error {
	catch(syscall.SIGHUP)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	conn, err := agent.TakeStdio()
	if err != nil {
		return err
	}
	a, err := agent.New(agent.Options{})
	if err != nil {
		return err
	}
	return a.Serve(ctx, conn)
}
