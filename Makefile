# SPDX-License-Identifier: GPL-2.0
# Front door. Each target is a script under tools/; Kbuild has the modules' rules.
#
# Everything but `install` and `uninstall` runs in a Debian 13 chroot that is made
# on first use and kept, as kernels and what is built are, under CEPH_RUST_CACHE
# (/var/cache/ceph-rust).

# The kernel to build for and to boot: a series of rust/series (without it
# the first one), or debug.
KERNEL ?=
export KERNEL
# Suites of `make kunit`, as a glob.
SUITE ?=

modules: ## libceph.ko and ceph.ko (KERNEL=series or debug)
	@tools/testing/kernel/modules.sh

install: ## put the modules under updates/ of the running kernel (SIGN_KEY=, SIGN_CERT=)
	@tools/install.sh install

uninstall: ## take them away: the C modules are back
	@tools/install.sh uninstall

demo: ## a real cluster, the stock kernel in QEMU, a mount (KEEP=1 leaves them up)
	@tools/testing/demo.sh

test: ## the tests; ends with "N passed, N failed"
	@tools/testing/test.sh

test-full: ## also the slow ones: all faults, beside the C client (about an hour)
	@FULL=1 tools/testing/test.sh

bench: ## ours against the C client on the read workloads (ROUNDS=, ROWS=, PROFILE=1)
	@tools/testing/bench/bench.sh

host-test: ## unit tests of the pure crates with cargo
	@tools/testing/host/run.sh

kunit: ## KUnit of both modules in QEMU, with lockdep and KASAN (SUITE=glob)
	@tools/testing/kunit/run.sh $(SUITE)

fuzz: ## fuzz targets with libFuzzer (TARGET=names, SECONDS=30 or RUNS=number for each)
	@tools/testing/fuzz/run.sh $(if $(RUNS),-n $(RUNS),-s $(or $(SECONDS),30)) $(TARGET)

fuzz-corpus: ## record real messages and make the corpus of the fuzz targets anew
	@tools/testing/fuzz/corpus.sh

test-sanitize: ## integration tests, load cycles and failing allocations on the debug kernel
	@tools/testing/sanitize/run.sh

fmt: ## format the Rust code
	@tools/testing/static/fmt.sh

fmt-check: ## say what `make fmt` would change
	@tools/testing/static/fmt.sh --check

clippy: ## lints; a warning is an error
	@tools/testing/static/clippy.sh

doc: ## the crates' documentation as HTML
	@tools/doc.sh

doc-test: ## compile the examples in the documentation of rust/
	@tools/testing/doctest/run.sh

rust-analyzer: ## rust-project.json for an editor
	@tools/rust-analyzer.sh

clean: ## remove what was built from this checkout (not toolbox and kernels)
	@tools/testing/clean.sh

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: modules install uninstall demo test test-full bench host-test kunit fuzz fuzz-corpus test-sanitize \
	fmt fmt-check clippy doc doc-test rust-analyzer clean help
