.PHONY: lab

# The scenarios that need a real IPVS kernel; T='NAME…' picks some, LDIRECTORD_RS another daemon.
lab:
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-6} LAB_ENV="LDIRECTORD_RS RUST_BACKTRACE RUST_TEST_THREADS $$LAB_ENV" \
	cargo --config 'target."cfg(all())".runner = "tests/lab/run"' test --test lab -- $(T)
