# The same few commands for people and for CI. `make help` lists them.

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
# Runs test binaries on a machine whose kernel has IPVS.
IN_LAB := $(CARGO) --config 'target."cfg(all())".runner = "$(CURDIR)/tests/lab/run"'
# Runs test binaries where Debian's servers are in place.
AMONG_PEERS := $(CARGO) --config 'target."cfg(all())".runner = "$(CURDIR)/tests/peers/run"'

# And where Debian's cluster managers are in place.
IN_CLUSTER := $(CARGO) --config 'target."cfg(all())".runner = "$(CURDIR)/tests/lab/cluster/run"'

.PHONY: help setup demo test lint unit features doc lab judge cluster peers faults faults-short fuzz bench manual packages \
	release release-check package-test upgrade-test corpus record \
	verdicts audit

help:            ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

setup:           ## what the build and the tests need: installed as root, else named
	@tests/setup

demo:            ## the main job on this machine, without privileges
	@tests/setup demo
	$(CARGO) build --bin ldirectord-rs --example demo
	$(TARGET)/debug/examples/demo

# What the packages do to a daemon that runs takes long in the emulated machine, and is left to `make package-test`: with it this would
# take 40 minutes on a slow machine. The unit, the agents and the switch are tried in the lab.
test: PACKAGES = paper
test: lint unit demo features doc faults-short peers lab package-test  ## everything, the lab included

lint: setup      ## format and clippy, with all features
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --all-features -- -D warnings
	$(CARGO) clippy --all-features --test faults --test lab --test peers -- -D warnings

unit: setup      ## every test that needs no privilege
	$(CARGO) test --workspace

features: setup  ## what is only there with the features: old TLS, and the login at Oracle
	$(CARGO) test --all-features --test legacy
	$(CARGO) test --all-features --test it -- oracle::

doc: setup       ## the documentation, of all features, builds without a warning
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --all-features

lab: setup       ## what needs a real IPVS kernel; T='NAME…' picks tests
	$(CARGO) build -p ipvs-rs --example list
	LAB_ENV=IPVS_RS_KERNEL IPVS_RS_KERNEL=1 $(IN_LAB) test -p ipvs-rs --test contract -- $(T)
	$(if $(T),,LAB_WAY=qemu LAB_ENV=IPVS_RS_KERNEL IPVS_RS_KERNEL=1 $(IN_LAB) test -p ipvs-rs --test contract -- --ignored)
	LAB_ENV="LDIRECTORD_RS RUST_BACKTRACE RUST_TEST_THREADS" RUST_TEST_THREADS=$${RUST_TEST_THREADS:-6} \
		$(IN_LAB) test --test lab -- $(or $(T),--skip judge:: --skip cluster::)
	$(if $(T),,$(MAKE) judge)
	$(if $(T),,$(MAKE) cluster)

judge: setup     ## ours against what the original was seen to do; S='NAME…' picks scenarios, JITTER=SECONDS shakes them
	LAB_ENV="LDIRECTORD_RS RUST_BACKTRACE JUDGE_ONLY JUDGE_THREADS JUDGE_JITTER" JUDGE_ONLY="$(S)" JUDGE_JITTER="$(JITTER)" \
		$(IN_LAB) test --test lab -- judge::

cluster: setup   ## under heartbeat, Pacemaker, keepalived and init; T='NAME…' picks tests, ORIGINAL=1 measures both
	LAB_ENV="RUST_BACKTRACE RUST_TEST_THREADS ORIGINAL" RUST_TEST_THREADS=$${RUST_TEST_THREADS:-2} ORIGINAL="$(ORIGINAL)" \
		$(IN_CLUSTER) test --test lab -- $(or $(T),cluster::)

peers: setup     ## every check against Debian's real servers, as root; T='NAME…' picks tests
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-6} $(AMONG_PEERS) test --test peers -- $(T)

faults: setup    ## faults of the director itself: pauses, bursts, resolver, link, log, memory (minutes); T='NAME…' picks tests
	FAULTS=full $(CARGO) test --test faults -- --test-threads=1 --nocapture $(T)

faults-short: setup  ## the same for less time each
	$(CARGO) test --test faults -- --test-threads=1 --nocapture $(T)

fuzz: setup      ## a minute of fuzzing for each reply parser and reader, with the nightly compiler; T='NAME…' picks
	fuzz/run $(T)

bench: setup     ## CPU time a check, and the whole daemon under load, with peers in the same run
	$(CARGO) bench --bench check --bench daemon

manual:          ## the manual pages, to man/ in cargo's target folder
	@$(CARGO) run --quiet --example manual -- $(TARGET)/man "$$(git log -1 --format=%cs 2>/dev/null || date +%F)"

release: setup   ## .deb, .rpm, .tar.gz and checksums, to packages/ in cargo's target folder (the first time their tools are built)
	packaging/release $(TARGET)/packages
	@ls -l $(TARGET)/packages/

release-check: setup  ## builds the release of the last commit a second time in another folder: the same bytes (after make release)
	packaging/release $(TARGET)/packages check

package-test: setup  ## installs, upgrades, removes and purges the packages in a fresh Debian; as root; PACKAGES='paper life systemd' picks
	tests/packages/run "$(PACKAGES)"

upgrade-test:    ## the daemon of the first release under this command line, and the reverse (builds that release once)
	tests/upgrade

corpus:          ## records anew what the original makes of tests/data/corpus; as root, with Debian's ldirectord
	tests/compat/record-corpus

record:          ## records anew what the original does in tests/compat/scenarios; S='NAME…' picks; as root
	tests/compat/record $(S)

verdicts:        ## records anew what the original makes of tests/peers/verdicts; T='NAME…' picks tests; as root
	PEERS_RECORD=1 RUST_TEST_THREADS=$${RUST_TEST_THREADS:-2} $(AMONG_PEERS) test --test peers -- $(T)

audit:           ## advisories, licences and sources of all dependencies (slow: builds cargo-deny)
	command -v cargo-deny >/dev/null || $(CARGO) install --locked cargo-deny
	$(CARGO) deny check
