# All of it works from a bare clone, as root and as an ordinary user; what the machine
# lacks besides Go is installed by scripts/ensure.sh. GNU make.
.DEFAULT_GOAL := help
.NOTPARALLEL:

# Root may build in a clone that is someone else's, where git refuses to tell the revision.
export GOFLAGS := $(GOFLAGS) -buildvcs=false
export GOLANGCI_LINT_CACHE ?= $(shell go env GOCACHE)/golangci-lint

lint := go tool -modfile=tools/go.mod golangci-lint
with_postgres := go run ./scripts/withpg

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: postgres build ## run real workflows on a throw-away PostgreSQL, and check their results
	@bin/tasker-cli demo $(ARGS)

.PHONY: dev
dev: postgres build ## start Tasker with a PostgreSQL that keeps its data in .tasker/, until Ctrl-C
	@bin/tasker-cli dev $(ARGS)

.PHONY: bench
bench: postgres build ## measure throughput and latency; ARGS="--mode split --json" and others
	@bin/tasker-cli bench $(ARGS)

.PHONY: build
build: ## put the commands into bin/
	@go build -o bin/ ./cmd/...

.PHONY: test
test: postgres rabbitmq cc node_modules lint ## everything that must hold: formatting, linters, all tests, generated files
	go mod tidy -diff
	CI=1 CGO_ENABLED=1 $(with_postgres) go test -race -shuffle=on -timeout=15m ./...

.PHONY: soak
soak: postgres rabbitmq ## what takes longer: 20,000 tasks under chaos, thousands of runs of the engine's laws
	TASKER_CHAOS_TASKS=20000 $(with_postgres) go test -count=1 -timeout=40m -run TestChaos -v ./internal/e2e
	TASKER_FUZZ_REQUESTS=100000 $(with_postgres) go test -count=1 -timeout=40m -run TestFuzzedRequests -v ./orchestration/internal/web
	$(with_postgres) go test -count=1 -timeout=40m -run TestLaws -v ./orchestration -rapid.checks=3000

.PHONY: lint
lint: ## only formatting and linters
	$(lint) config verify
	$(lint) fmt --diff
	go vet ./...
	$(lint) run

.PHONY: fmt
fmt: ## format the code
	$(lint) fmt

.PHONY: generate
generate: postgres rabbitmq node_modules ## write generated documents and golden files anew (make test checks them)
	UPDATE_GOLDEN=1 go test -count=1 -run 'TestTexts|TestEveryLeafIsLive' ./config ./internal/liveness # what the others embed
	UPDATE_GOLDEN=1 $(with_postgres) go test -count=1 ./...

.PHONY: postgres rabbitmq cc node
postgres rabbitmq cc node:
	@sh scripts/ensure.sh $@

.PHONY: node_modules
node_modules: clients/typescript/node_modules/.package-lock.json

clients/typescript/node_modules/.package-lock.json: clients/typescript/package-lock.json
	@$(MAKE) --no-print-directory node
	cd clients/typescript && npm ci --ignore-scripts --no-audit --no-fund
	@touch $@
