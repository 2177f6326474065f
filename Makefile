# Every target has one line of help behind it; `make help` prints them. CI runs only these targets.

GOLANGCI_VERSION := v2.15.0
GOLANGCI         := bin/golangci-lint-$(GOLANGCI_VERSION)

SEEDS    ?= 10000
FUZZTIME ?= 30s
CHECKS   ?= 10000
BENCH    ?= .

# Many tests wait, for leases and for servers: twice as many packages as processors run at once.
PACKAGES ?= $(shell echo $$(( 2 * $$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2) )))

# The race detector needs a C compiler; Go says whether it found one.
RACE := $(if $(filter 1,$(shell go env CGO_ENABLED)),-race)

# Otherwise every process with the race detector sleeps for a second at its end, to hear of races in goroutines that still run.
export GORACE ?= atexit_sleep_ms=0

.DEFAULT_GOAL := help
.PHONY: help build test lint sim crash conformance bench microbench generate fuzz properties cover deploy-check up down clean ui ui-check ui-test ui-bench

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Compile everything, the binaries of cmd/ into bin/
	go build ./...
	$(if $(wildcard cmd/*/*.go),go build -trimpath -o bin/ ./cmd/...)

test: ## Run all tests, in random order and with the race detector (three to four minutes on two cores)
	$(if $(RACE),,@echo "no C compiler: the tests run without the race detector")
	go test $(RACE) -p $(PACKAGES) -shuffle=on ./...

lint: $(GOLANGCI) ## Check layers, exhaustiveness and style with the pinned golangci-lint
	$(GOLANGCI) config verify --config .golangci.yml
	$(GOLANGCI) run ./...

sim: ## Run the simulation of the whole engine (SEEDS=10000)
	go test ./internal/sim -run TestSimulation -sim.seeds=$(SEEDS) -timeout 60m

crash: ## Run the crash tests at full length: 20 kills, 60 s without NATS, 30 s of overload
	go test $(RACE) ./internal/crashtest -crash.long -v -timeout 30m

conformance: ## Run what make test leaves out: all tests of stores on three servers, the scripts of the command with the race detector
	go test $(RACE) ./infra/natslog -run OnAClusterOfThree -natslog.long
	go test $(RACE) ./cmd/tasker -run TestScripts -scripts.race

bench: ## Measure this machine and write docs/performance.md (about six minutes)
	TASKER_COMMIT=$$(git rev-parse --short=12 HEAD) go run ./bench/report -out docs/performance.md

microbench: ## Run the Go benchmarks (BENCH=. selects by name)
	go test -run '^$$' -bench '$(BENCH)' -benchmem -timeout 60m ./...

generate: ## Write again what is generated from the code: docs, schemas
	go generate ./...

fuzz: ## Run every fuzz test for FUZZTIME=30s
	@grep -rl --include='*_test.go' '^func Fuzz' . | xargs -r -n1 dirname | sort -u | while read -r dir; do \
		for f in $$(go test -list '^Fuzz' "$$dir" | grep '^Fuzz'); do \
			echo "$$dir $$f"; \
			go test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) "$$dir" || exit 1; \
		done; \
	done

properties: ## Search for what breaks the properties of the tests, with a new seed (CHECKS=10000)
	@grep -rl --include='*_test.go' 'internal/sameseed' . | xargs -r -n1 dirname | sort -u | while read -r dir; do \
		go test "$$dir" -args -rapid.seed=0 -rapid.checks=$(CHECKS) || exit 1; \
	done

cover: ## Measure the coverage of all packages by all tests, into cover.out and cover.html
	go test -coverpkg=./... -coverprofile=cover.out ./...
	go tool cover -html=cover.out -o cover.html
	go tool cover -func=cover.out | tail -1

# A module of its own: -mod=mod lets it follow what the module above requires. With the settings of the Dockerfile, so that the binary
# that the tests build shares what is compiled for them.
deploy-check: ## Check docker-compose.yml, the Dockerfile and deploy/ without containers (under a minute once compiled)
	cd deploy/check && CGO_ENABLED=0 go vet -trimpath -mod=mod ./... && CGO_ENABLED=0 go test -trimpath -mod=mod ./...

ui: web/node_modules/.package-lock.json ## Build the web UI into web/dist, which is checked in (needs Node.js)
	cd web && npm run build && npm run size

# CI runs it: nobody is to check in a source without what it builds to.
ui-check: web/node_modules/.package-lock.json ## Check the web UI: types, lint, unit tests, size, and that web/dist is what the source builds to
	cd web && npm run typecheck && npm run lint && npm test && npm run size && npm run same

ui-test: web/node_modules/.package-lock.json ## Use the web UI in a real browser, against the real server (needs Chromium)
	cd web && npm run e2e -- e2e/flows.test.mjs e2e/pages.test.mjs

ui-bench: web/node_modules/.package-lock.json ## Measure the web UI in a real browser: first load, a graph of 5,000 steps, 1,000 events/s
	cd web && npm run e2e -- e2e/performance.test.mjs

web/node_modules/.package-lock.json: web/package-lock.json
	cd web && npm ci
	touch $@

up: export TASKER_VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
up: export TASKER_COMMIT ?= $(shell git rev-parse HEAD 2>/dev/null)
up: ## Build and start everything with docker compose, with new passwords in .env when there are none
	deploy/secrets.sh
	docker compose build
	docker compose up --detach --wait $$(docker compose config --services | grep -v '^interop$$')
	docker compose run --rm interop
	@echo "Grafana http://localhost:3000 (admin, GRAFANA_ADMIN_PASSWORD in .env), traces http://localhost:16686, Prometheus http://localhost:9090"

down: ## Stop what make up started; the data stays
	docker compose down

clean: ## Remove what the other targets made
	rm -rf bin cover.out cover.html

# The version is part of the name, so that raising it installs the new one.
$(GOLANGCI):
	GOBIN="$(CURDIR)/bin" go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	mv bin/golangci-lint $@
