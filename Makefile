# Everything is thin over the go tool. `make` alone lists the targets.
GO ?= go
LINT := $(GO) tool -modfile=tools/lint/go.mod
SOURCES := $(shell git ls-files '*.go' 2>/dev/null)

.PHONY: help packages agents build demo test bench check clean

help:
	@echo 'make build   bin/drover, with the agents for amd64 and arm64 inside'
	@echo 'make demo    upgrade a real 3+3 Nomad cluster on this machine, live (root, Debian)'
	@echo 'make test    every test, with the real lab'
	@echo 'make bench   drover beside a bare SSH client, an upgrade by hand and bare restarts'
	@echo 'make check   formatting, vet, lint with the layer rules'
	@echo 'make clean   remove what make built here'

packages:
	@tools/packages

agents:
	@echo 'building the agents for amd64 and arm64, where they are not up to date'
	@$(GO) run ./tools/agents

build: agents
	@echo 'building bin/drover (the first time takes a minute or two)'
	@CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-X drover/internal/wire.Source=$$($(GO) run ./tools/agents -print)" -o bin/drover ./cmd/drover

demo:
	@echo '[0 of 6, 0s] drover itself: Debian packages, agents, bin/drover'
	@$(MAKE) -s packages build
	@bin/drover demo

test: packages build
	DROVER=$(CURDIR)/bin/drover $(GO) test -p 1 -parallel 3 -timeout 75m ./...

check: agents
	@unformatted=$$($(LINT) gofumpt -l $(SOURCES)) && test -z "$$unformatted" || { echo "not gofumpt-ed: $$unformatted"; exit 1; }
	$(GO) vet ./...
	$(LINT) golangci-lint run ./...

clean:
	rm -rf bin internal/connection/agents/*.zst internal/connection/agents/manifest.json

bench: packages build
	DROVER=$(CURDIR)/bin/drover $(GO) test -run '^$$' -bench Lab -benchtime 5x -timeout 30m ./cmd/drover
