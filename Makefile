SHELL := /bin/sh
.DEFAULT_GOAL := help
.NOTPARALLEL:

# Debian packages that the tests need, each with the command that shows that it
# is there; without a command dpkg is asked. The race detector needs a C
# compiler, the verifiers of docs/backends.md need their languages; of the
# databases only the programs are used, by private servers; script gives a
# test a terminal; journeys of people run in chromium, in Chinese letters; npm
# fetches what the clients in sdk are built and tested with.
DEPS ?= gcc:gcc libc6-dev php-cli:php php-sqlite3 php-mysql php-fpm nodejs:node npm:npm node-mysql \
	python3-jwt python3-cryptography default-jdk-headless:javac libjackson2-databind-java \
	postgresql mariadb-server redis-server:redis-server bsdutils:script systemd:systemd-analyze prometheus:promtool ca-certificates chromium:chromium fonts-noto-cjk

FUZZTIME ?= 5s

DIST ?= dist

# SQLite in Go is C by origin and takes its locks through sync, which the race
# detector sees. Watched itself, it is several times slower.
UNWATCHED := modernc.org/...
STATICCHECK := go tool -modfile=$(CURDIR)/tools/go.mod staticcheck

# What people meet who build for the first time: no Go, one that is too old to
# fetch the right one by itself, or a network in which Go's module proxy cannot be
# reached, as in China.
define WHY_NOT_BUILT
	wanted=$$(awk '$$1 == "go" { print $$2 }' go.mod); \
	mirror="If this is about the network, try: GOPROXY=https://goproxy.cn,direct make $(MAKECMDGOALS)"; \
	case "$$(go version 2>/dev/null)" in \
	'') echo "Go is missing. Install Go $$wanted or later: https://go.dev/dl/ or https://golang.google.cn/dl/" ;; \
	*go1.1[0-9]*|*go1.20*) echo "This Go is too old. Install Go $$wanted or later: https://go.dev/dl/ or https://golang.google.cn/dl/" ;; \
	*) go mod download >/dev/null 2>&1 || echo "Go $$wanted or later and the modules of go.sum could not be fetched. $$mirror" ;; \
	esac >&2
endef

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z\/]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/wxgate and bin/wxgate-sandbox
	@echo "== building bin/wxgate and bin/wxgate-sandbox; the first time takes minutes"
	@CGO_ENABLED=0 go build -o bin/ ./cmd/wxgate ./cmd/wxgate-sandbox || { $(WHY_NOT_BUILT); exit 1; }

.PHONY: dist
dist: ## Build dist/wxgate for Linux on amd64 and arm64, static, with checksums
	@for arch in amd64 arm64; do \
		echo "== linux $$arch"; \
		CGO_ENABLED=0 GOOS=linux GOARCH=$$arch go build -ldflags '-s -w' -o $(DIST)/wxgate-linux-$$arch ./cmd/wxgate || exit 1; \
	done
	@cd $(DIST) && sha256sum wxgate-linux-* | tee SHA256SUMS

.PHONY: run
run: build ## Run the gateway with a sandbox WeChat and a small shop; Ctrl-C ends all
	@mkdir -p data
	@bin/wxgate-sandbox run --gateway bin/wxgate --caddyfile Caddyfile

.PHONY: test
test: deps format vet lint race soak browser sdk fuzz ## Install what the tests need, then check and test everything
	@echo "== all passed"

.PHONY: bench
bench: build ## Compare the gateway with the same Caddy without it
	go run ./cmd/wxgate-bench

.PHONY: schema-dump
schema-dump: ## Dump the present schema for the tests of upgrades, with pg_dump, mariadb-dump and sqlite3
	go test ./internal/account -run TestEveryReleasedSchemaIsBroughtUpToDate -args -dump

.PHONY: bench/gateways
bench/gateways: deps build ## Let two gateways with PostgreSQL and Redis carry a crowd; fails where a bound is missed
	go run ./cmd/wxgate-bench -gateways 2 -sessions 100000 -rate 500

.PHONY: bench/account
bench/account: DEPS += strace
bench/account: deps ## Compare the account database with bare statements; fails where a bound is missed
	go run ./cmd/wxgate-bench/account
	go run ./cmd/wxgate-bench/account -sync 1ms -rounds 30 -large 100000

.PHONY: reference
reference: ## Write the tables of docs/configuration.md again, from the comments of the code
	go generate ./docs

.PHONY: fmt
fmt: ## Format all Go files
	gofmt -w .

.PHONY: deps
deps: ## Install with apt-get what the tests need and this machine lacks
	@missing=; \
	for dep in $(DEPS); do \
		package=$${dep%%:*}; tool=$${dep#*:}; \
		[ "$$tool" != "$$dep" ] && command -v "$$tool" >/dev/null && continue; \
		[ "$$(dpkg-query -W -f='$${db:Status-Status}' "$$package" 2>/dev/null)" = installed ] && continue; \
		missing="$$missing $$package"; \
	done; \
	[ -n "$$missing" ] || exit 0; \
	echo "== installing$$missing"; \
	command -v apt-get >/dev/null || { \
		echo "There is no apt-get here. Install these yourself, then: make $(MAKECMDGOALS) DEPS=" >&2; exit 1; }; \
	sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	$$sudo apt-get update -qq && \
	$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null

.PHONY: format
format:
	@echo "== gofmt"
	@bad=$$(gofmt -l .); [ -z "$$bad" ] || { echo "Not formatted; run make fmt:" >&2; echo "$$bad" >&2; exit 1; }

.PHONY: vet
vet:
	@echo "== go vet"
	@go vet ./...

.PHONY: lint
lint:
	@echo "== staticcheck"
	@$(STATICCHECK) ./...

# The soak comes by itself: it watches what people see within seconds.
.PHONY: race
race:
	@echo "== go test -race"
	@go test -race -gcflags='$(UNWATCHED)=-race=false' -timeout 20m $$(go list ./... | grep -v /soaktest)

# A module of its own, so that the browser's driver stays out of the gateway's
# dependencies.
.PHONY: browser
browser:
	@echo "== journeys in a browser"
	@cd browsertest && go vet ./... && $(STATICCHECK) ./... && go test -timeout 15m ./...

.PHONY: sdk
sdk: sdk/node_modules/.package-lock.json
	@echo "== clients in Node"
	@dir=$$(mktemp -d); \
	go build -o "$$dir/" ./cmd/wxgate ./cmd/wxgate-sandbox && \
	WXGATE_GATEWAY=$$dir/wxgate WXGATE_SANDBOX=$$dir/wxgate-sandbox npm --prefix sdk test --silent; \
	status=$$?; rm -rf "$$dir"; exit $$status

.PHONY: sdk-build
sdk-build: sdk/node_modules/.package-lock.json ## Build the clients for mini programs and for pages from sdk
	@npm --prefix sdk run build --silent

sdk/node_modules/.package-lock.json: sdk/package-lock.json
	@npm --prefix sdk ci --silent
	@touch $@

.PHONY: features
features: ## Make docs/features.md anew from docs/requirements
	go test ./docs/requirements -args -update

.PHONY: screenshots
screenshots: ## Take the pictures of docs/screenshots again
	cd browsertest && go test -timeout 15m -run TestPages . -update-screenshots

.PHONY: soak
soak: deps ## Let simulated people live with three gateways and faults, each once; FOR=1h goes on for an hour
	@echo "== people live with three gateways and faults; some minutes"
	@go test -count=1 -timeout 0 -v ./soaktest -args -for $(or $(FOR),1s)

# One fuzz target runs at a time: go test takes no more than one.
.PHONY: fuzz
fuzz:
	@echo "== fuzzing, $(FUZZTIME) each"
	@log=$$(mktemp); \
	grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | sed 's/:func /:/' | sort | \
	while IFS=: read -r file target; do \
		echo "   $$target"; \
		go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$(dirname "$$file")" >"$$log" 2>&1 || \
			{ cat "$$log" >&2; exit 1; }; \
	done; status=$$?; rm -f "$$log"; exit $$status

.PHONY: clean
clean: ## Remove what was built and the state of make run
	rm -rf bin data dist
