# Commands for developers and CI. `make help` lists them.

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
# Runs test binaries on a machine whose kernel has IPVS.
IN_LAB := $(CARGO) --config 'target."cfg(all())".runner = "$(CURDIR)/tests/lab/run"'
# Runs test binaries on a system with Debian's servers.
AMONG_PEERS := $(CARGO) --config 'target."cfg(all())".runner = "$(CURDIR)/tests/real_servers/run"'
# Runs test binaries on a system with Debian's cluster managers.
IN_CLUSTER := $(CARGO) --config 'target."cfg(all())".runner = "$(CURDIR)/tests/lab/cluster/run"'

# The stages of `make test`, each a target with its budget in minutes on two cores. Together at most 40: a longer test
# gets a target of its own and a short version here.
STAGES := lint=5 unit=7 demo=1 features=3 doc=1 faults-short=2 peers=2 lab=4 judge=5 cluster+package-test=7

.DEFAULT_GOAL := help
.PHONY: help unit demo setup test lint features doc faults-short faults fuzz bench audit lab judge cluster peers corpus record verdicts \
	manual release release-check package-test upgrade-test

help:
	@awk -F ':.*## ' '/^##@ / { print "\n" substr($$0, 5) } /^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

##@ Every day

# Most tests wait for a timer most of the time.
unit:            ## every test that needs no privileges and no network (once cargo has the crates)
	@tests/install-prerequisites unit
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-4} $(CARGO) test --workspace

demo:            ## the daemon with two web servers on an in-memory table, without privileges
	@tests/install-prerequisites demo
	$(CARGO) build --bin ldirectord-rs --example demo
	$(TARGET)/debug/examples/demo

setup:           ## the packages that the build and all tests need: installs them as root, otherwise lists them
	@tests/install-prerequisites

##@ Before a commit

# Tests only the contents of the packages: tests of packages with a running daemon are slow in the emulated machine and
# would take this beyond 40 minutes. The lab tests the unit, the agents and the switch.
test: setup      ## everything, as root: all stages, then the minutes of each next to its budget
	@PACKAGES=package-contents MAKE='$(MAKE)' tests/stages.sh $(STAGES)

lint: setup      ## format and clippy, with all features
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --all-features -- -D warnings
	$(CARGO) clippy --all-features --test faults --test lab --test real_servers -- -D warnings

features: setup  ## the tests of optional features: old TLS, and the login at Oracle
	$(CARGO) test --all-features --test legacy
	$(CARGO) test --all-features --test it -- oracle::

doc: setup       ## the documentation of all features, without a warning
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --all-features

faults-short: setup  ## faults of the director itself, each for a short time; T='NAME…' picks tests
	$(CARGO) test --test faults -- --test-threads=1 --nocapture $(T)

faults: setup    ## the same for minutes each: pauses, bursts, resolver, link, log, memory; T='NAME…' picks tests
	FAULTS=full $(CARGO) test --test faults -- --test-threads=1 --nocapture $(T)

fuzz: setup      ## a minute of fuzzing for each parser, with the nightly compiler; T='NAME…' picks parsers
	fuzz/run $(T)

bench: setup     ## CPU time of a check and of the daemon under load, compared with other programs in the same run; answers under load
	$(CARGO) bench --bench check --bench daemon --bench readers

audit:           ## advisories, licences and sources of all dependencies (builds cargo-deny first)
	command -v cargo-deny >/dev/null || $(CARGO) install --locked cargo-deny
	$(CARGO) deny check

##@ Root and the lab

lab: setup       ## tests on a kernel with IPVS; T='NAME…' picks tests
	$(CARGO) build -p ipvs-rs --example list
	LAB_ENV=IPVS_RS_KERNEL IPVS_RS_KERNEL=1 $(IN_LAB) test -p ipvs-rs --test contract -- $(T)
	$(if $(T),,LAB_WAY=qemu LAB_ENV=IPVS_RS_KERNEL IPVS_RS_KERNEL=1 $(IN_LAB) test -p ipvs-rs --test contract -- --ignored)
	NODE_EXPORTER="$$(tests/fetch-packages.sh exporter prometheus-node-exporter)/usr/bin/prometheus-node-exporter" \
		LAB_ENV="LDIRECTORD_RS NODE_EXPORTER RUST_BACKTRACE RUST_TEST_THREADS" RUST_TEST_THREADS=$${RUST_TEST_THREADS:-6} \
		$(IN_LAB) test --test lab -- $(or $(T),--skip compat:: --skip cluster::)

judge: setup     ## scenarios, compared with recordings of the original; S='NAME…' picks scenarios, JITTER=SECONDS delays their commands
	LAB_ENV="LDIRECTORD_RS RUST_BACKTRACE JUDGE_ONLY JUDGE_THREADS JUDGE_JITTER" JUDGE_ONLY="$(S)" JUDGE_JITTER="$(JITTER)" \
		$(IN_LAB) test --test lab -- compat::

cluster: setup   ## heartbeat, Pacemaker, keepalived and init; T='NAME…' picks tests, ORIGINAL=1 measures the original, too
	LAB_ENV="RUST_BACKTRACE RUST_TEST_THREADS ORIGINAL" RUST_TEST_THREADS=$${RUST_TEST_THREADS:-2} ORIGINAL="$(ORIGINAL)" \
		$(IN_CLUSTER) test --test lab -- $(or $(T),cluster::)

peers: setup     ## every check on Debian's real servers; T='NAME…' picks tests
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-6} $(AMONG_PEERS) test --test real_servers -- $(T)

##@ Recording (as root, with Debian's ldirectord)

corpus:          ## records how the original reads tests/data/corpus
	tests/compat/record-corpus.py

record:          ## records what the original does in tests/compat/scenarios; S='NAME…' picks scenarios
	tests/compat/record-scenarios.py $(S)

verdicts:        ## records the original's verdicts in tests/real_servers/verdicts; T='NAME…' picks tests
	PEERS_RECORD=1 RUST_TEST_THREADS=$${RUST_TEST_THREADS:-2} $(AMONG_PEERS) test --test real_servers -- $(T)

##@ Packages

manual:          ## the manual pages, to man/ in cargo's target folder
	@$(CARGO) run --quiet --example manual -- $(TARGET)/man "$$(git log -1 --format=%cs 2>/dev/null || date +%F)"

release: setup   ## .deb, .rpm, .tar.gz and checksums, to packages/ in cargo's target folder (builds their tools first)
	packaging/release $(TARGET)/packages
	@ls -l $(TARGET)/packages/

release-check: setup  ## builds the release of the last commit again in another folder and compares the bytes (after make release)
	packaging/release $(TARGET)/packages check

package-test: setup  ## installs, upgrades, removes and purges the packages in a fresh Debian, as root; PACKAGES='package-contents lifecycle systemd' picks
	tests/packages/run-tests.sh "$(PACKAGES)"

upgrade-test:    ## replaces the daemon of the first release by this one and back (builds that release once)
	tests/upgrade-test.sh
