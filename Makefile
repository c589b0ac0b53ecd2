# celeryresults: what developers run. `make` alone lists it.

GO ?= go
PACKAGES ?= ./...
RUN := $(GO) run ./internal/testserver/run
GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
FUZZTIME ?= 30s
ADAPTERS := $(patsubst %/go.mod,%,$(wildcard adapters/*/go.mod))
MODULES := $(ADAPTERS) web/browsertest

.PHONY: help test quick lint interop adapters browser bench fuzz servers build cover

help: ## list what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

test: servers ## vet, and every test with the race detector over real servers
	$(GO) vet $(PACKAGES)
	$(RUN) -- $(GO) test -race -timeout 15m $(PACKAGES)

quick: ## the tests without the race detector; servers that are missing are left out
	$(GO) test $(PACKAGES)

servers: ## install redis, memcached, PostgreSQL, MariaDB and Chromium where that is possible
	@sh scripts/install-servers.sh

lint: ## gofmt, go mod tidy, staticcheck and the linters of .golangci.yml
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo 'make lint: run gofmt -w on these'; exit 1; }
	$(GO) mod tidy -diff
	$(GO) tool -modfile=tools/go.mod staticcheck $(PACKAGES)
	$(GO) run $(GOLANGCI) run $(PACKAGES)
	@for module in $(MODULES); do echo "lint $$module"; (cd $$module && $(GO) run $(GOLANGCI) run ./...) || exit 1; done

interop: servers ## real Django and Celery read what Go wrote, and the other way round
	$(RUN) -- $(GO) test -count=1 ./interop/...

adapters: servers ## the adapters for other task queues, each a module of its own, and their examples
	@for adapter in $(ADAPTERS); do $(RUN) -- sh -c "cd $$adapter && $(GO) vet ./... && $(GO) test -race ./..." || exit 1; done

browser: servers ## the pages in a headless Chromium; CELERYRESULTS_SCREENSHOTS=DIR keeps pictures
	cd web/browsertest && $(GO) vet ./... && $(GO) test -race -count=1 ./...

bench: servers ## benchmarks: ratios against the raw client or a peer in the same run
	$(RUN) -- $(GO) test -run '^$$' -bench . -benchmem $(PACKAGES)

fuzz: ## every fuzz test for FUZZTIME each
	sh scripts/fuzz.sh $(FUZZTIME)

build: ## the command, into bin/
	$(GO) build -trimpath -ldflags '-s -w' -o bin/ ./cmd/celery-results

cover: servers ## coverage of all packages by all tests
	$(RUN) -- $(GO) test -coverpkg=./... -coverprofile=cover.out $(PACKAGES)
	$(GO) tool cover -func=cover.out | tail -n 1
