# Targets for people and for CI; `make help` lists them. Nothing but Go and make
# is needed to build and to run the tests of test-go but for the race detector,
# which wants gcc; what else `make test` needs it fetches.

export GO ?= go
# All but what the race detector watches is compiled without cgo and with -trimpath, as what is
# shipped is: Go keeps what it has compiled by such settings, and so compiles it once.
export CGO_ENABLED := 0
PREFIX  ?= /usr/local
TIMEOUT ?= 20m# for the tests of one package
FUZZTIME ?= 30s# for one fuzz target
SOAK     ?= 10m# for each mode of soak
BIN      ?= bin# where the programs are built
DIST     ?= dist# where packages are built

# The version is in internal/version. The commit is told to the linker, because Go
# builds nothing where git refuses to read a clone, as one of another user. An
# archive has no .git, though a directory above it may.
COMMIT := $(if $(wildcard .git),$(shell git describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null))
BUILD  := $(GO) build -trimpath -buildvcs=false -ldflags '-s -w -X "kafka-upstream/internal/version.commit=$(COMMIT)"'

# check-go has vetted what is tested. The package whose tests take longest comes first: the
# others are compiled and tested beside it.
GOTEST   := $(GO) run -trimpath ./scripts/gotest -timeout=$(TIMEOUT) -vet=off
PACKAGES := ./internal/test/e2e ./...

# The tools have a module of their own, so that go.mod has none of theirs.
TOOL := $(GO) tool -modfile=scripts/tools/go.mod

.DEFAULT_GOAL := build

.PHONY: help
help: ## list the targets
	@awk -F ':[^#]*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/kafka-upstream and bin/kafka-upstream-demo
	$(BUILD) -o '$(BIN)/' ./cmd/kafka-upstream ./cmd/kafka-upstream-demo

.PHONY: install
install: ## install kafka-upstream into PREFIX/bin, its licences into PREFIX/share/doc (PREFIX=/usr/local)
	$(BUILD) -o '$(BIN)/' ./cmd/kafka-upstream
	install -d '$(DESTDIR)$(PREFIX)/bin'
	install -m 0755 '$(BIN)/kafka-upstream' '$(DESTDIR)$(PREFIX)/bin/kafka-upstream'
	install -d '$(DESTDIR)$(PREFIX)/share/doc/kafka-upstream'
	install -m 0644 LICENSE THIRD_PARTY_NOTICES '$(DESTDIR)$(PREFIX)/share/doc/kafka-upstream'

.PHONY: packages
packages: ## build DIST/*.deb, *.rpm and *.tar.gz for amd64 and arm64, their SBOMs and SHA256SUMS (DIST=dist)
	scripts/packages.sh '$(DIST)'

.PHONY: release
release: ## commit and tag the release VERSION, and build its packages; docs/releasing.md has what comes before and after
	scripts/release.sh '$(VERSION)'
	$(MAKE) packages

.PHONY: test-packages
test-packages: ## install, upgrade and remove the packages in a Debian with its systemd, and build them twice; needs root
	@scripts/need.sh rpm systemd-nspawn
	KAFKA_UPSTREAM_DEBIAN=$$(scripts/debian.sh) && export KAFKA_UPSTREAM_DEBIAN && \
		$(GO) run ./scripts/gotest -timeout $(TIMEOUT) -- -count=1 -tags packages ./internal/test/packages

.PHONY: demo
demo: build ## try it without Kong and Kafka (CHECK=1: check itself and end; SECURE=1: TLS and SASL; ARGS=: more flags)
	bin/kafka-upstream-demo $(if $(CHECK),--check) $(if $(SECURE),--secure) $(ARGS)

.PHONY: test
test: check gcc kafka nginx ## all tests, also those against real Kafka, for which it fetches what it needs; what CI runs
	@# -count=1: what they read is outside of their modules, where Go's cache sees no change
	cd scripts/manifests && $(GO) test -count=1 -trimpath ./...
	cd scripts/site && $(GO) test -count=1 -trimpath ./...
	$(GOTEST) -- -race $(PACKAGES) -- + -count=1 -trimpath -tags=kafka,nginx $(PACKAGES)

.PHONY: test-go
test-go: check-go gcc ## the tests that need only Go, plain and with the race detector
	$(GOTEST) -- -trimpath $(PACKAGES) -- -race $(PACKAGES)

.PHONY: check
check: check-go ## gofmt, go vet, staticcheck and luacheck
	$(TOOL) staticcheck -tags=kafka,nginx,packages ./...
	@scripts/need.sh luacheck
	luacheck -q --std ngx_lua --globals kong --no-max-line-length internal/companion/lua internal/test/kongnginx/kong.lua

.PHONY: check-go
check-go:
	@unformatted=$$("$$($(GO) env GOROOT)/bin/gofmt" -l bench cmd internal schema scripts) && if [ -n "$$unformatted" ]; then \
		echo "not formatted, run gofmt -w on:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet -trimpath ./...
	$(GO) vet -trimpath -tags=kafka,nginx,packages ./...

.PHONY: vuln
vuln: ## look for known vulnerabilities in what is linked, in the database of the Go project
	$(TOOL) govulncheck ./cmd/kafka-upstream

.PHONY: kafka
kafka: ## fetch Apache Kafka and Apicurio Registry for the tests (and Java and Maven where they are missing and apt-get may)
	@scripts/kafka.sh

.PHONY: gcc
gcc:
	@scripts/need.sh gcc

.PHONY: nginx
nginx:
	@scripts/need.sh nginx

.PHONY: bench
bench: ## what a request costs, beside two other plugins (ARGS=-help lists what can be chosen)
	$(GO) run ./bench $(ARGS)

.PHONY: bench-go
bench-go: ## run the benchmarks of the packages
	$(GO) test -run '^$$' -bench . -benchmem ./cmd/... ./internal/...

.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZTIME (30s)
	@scripts/fuzz.sh '$(FUZZTIME)'

.PHONY: docs
docs: ## write the generated parts of docs/ again
	$(GO) generate ./...

.PHONY: site
site: ## make a website of the documents, in bin/site
	cd scripts/site && $(GO) run . ../.. ../../bin/site

.PHONY: notices
notices: ## write THIRD_PARTY_NOTICES again, the licences of what is linked
	$(GO) run ./scripts/notices

.PHONY: guarantees
guarantees: kafka ## do every fault, and write the tables of docs/guarantees.md from what the tests saw
	GUARANTEES=1 KILLS=50 $(GO) test -tags kafka -count=1 -parallel 1 -timeout 60m -run 'TestFaults|TestMemoryOf|TestDurableRecordsOutliveAKilledProcess' -v ./internal/test/e2e | $(GO) run ./scripts/guarantees

.PHONY: soak
soak: ## faults by chance for SOAK (10m) a mode, or those of SEED (DURABLE=1: those of the spool, with 200 kills of the process)
	SOAK=$(SOAK) $(if $(DURABLE),KILLS=200) $(GO) test -count=1 -timeout 24h -run $(if $(DURABLE),'TestDurableRecordsOutlive',TestInvariant) -v ./internal/test/e2e

.PHONY: clean
clean: ## remove what build has made
	rm -rf bin dist
