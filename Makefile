# celeryresults: what developers run. `make` alone lists it.

GO ?= go
PACKAGES ?= ./...
FUZZTIME ?= 30s
BUILDFLAGS ?= -trimpath -ldflags '-s -w'
RUN := $(GO) run ./internal/testserver/run

ADAPTERS := $(patsubst %/go.mod,%,$(wildcard adapters/*/go.mod examples/*/go.mod))
MODULES := $(ADAPTERS) web/browsertest

# The linter is built once for each of its versions and Go's, and kept in the
# user's cache, so that a clean clone does not build it again.
GOLANGCI_VERSION := v2.15.0
GOLANGCI = $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/celeryresults/golangci-lint-$(GOLANGCI_VERSION)-$(shell $(GO) env GOVERSION)/golangci-lint

.PHONY: help test quick soak lint linter interop adapters browser bench fuzz servers venvs build cover

help: ## list what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

test: servers ## every test over real servers, with the race detector where goroutines are
	$(RUN) -- sh scripts/test.sh $(PACKAGES)

quick: ## the tests without the race detector; servers that are missing are left out
	$(GO) test $(PACKAGES)

soak: export CELERYRESULTS_TEST_SOAK := 1
soak: servers ## the long variants of all tests of all modules, all with the race detector: hours
	$(RUN) -- $(GO) test -race -count=1 -timeout 60m $(PACKAGES)
	$(RUN) -only redis -- sh -ec 'for module; do (cd $$module && $(GO) test -race -count=1 -timeout 60m ./...); done' soak $(MODULES)

servers: ## install redis, memcached, PostgreSQL, MariaDB and Chromium where that is possible
	@sh scripts/install-servers.sh

venvs: servers ## install the Python packages of make interop, which otherwise does so itself
	@for list in interop/requirements*.txt; do sh scripts/interop-venv.sh $${list#interop/} || exit 1; done

lint: linter ## gofmt, go mod tidy, and vet, staticcheck and the other linters of .golangci.yml
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo 'make lint: run gofmt -w on these'; exit 1; }
	$(GO) mod tidy -diff
	$(GOLANGCI) run --allow-serial-runners $(PACKAGES)
	@for module in $(MODULES); do echo "lint $$module"; (cd $$module && $(GOLANGCI) run --allow-serial-runners ./...) || exit 1; done

linter: ## build golangci-lint, unless this version is there
	@test -x $(GOLANGCI) || GOBIN=$(dir $(GOLANGCI)) $(GO) install -ldflags '-s -w' github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)

interop: servers ## real Django and Celery read what Go wrote, and the other way round
	$(RUN) -- $(GO) test -count=1 ./interop/...

adapters: servers ## the adapters for other task queues and the examples that are modules of their own
	@$(RUN) -only redis -- sh -ec 'for adapter; do (cd $$adapter && $(GO) test -vet=off -race ./...); done' adapters $(ADAPTERS)

browser: servers ## the pages in a headless Chromium; CELERYRESULTS_SCREENSHOTS=DIR keeps pictures
	cd web/browsertest && $(GO) test -vet=off -count=1 ./...

bench: servers ## benchmarks: ratios against the raw client or a peer in the same run
	$(RUN) -- $(GO) test -run '^$$' -bench . -benchmem $(PACKAGES)

fuzz: ## every fuzz test for FUZZTIME each
	sh scripts/fuzz.sh $(FUZZTIME)

build: ## the command, into bin/
	$(GO) build $(BUILDFLAGS) -o bin/ ./cmd/celery-results

cover: servers ## coverage of all packages by all tests
	$(RUN) -- $(GO) test -coverpkg=./... -coverprofile=cover.out $(PACKAGES)
	$(GO) tool cover -func=cover.out | tail -n 1
