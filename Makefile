# SPDX-License-Identifier: GPL-2.0
# Front door: every target is a script under tools/testing.

host-test: ## unit tests of the pure crates with cargo
	tools/testing/host/run.sh
kunit: ## KUnit suites of both modules in QEMU, on a kernel with lockdep and KASAN
	tools/testing/kunit/run.sh $(SUITE)

.PHONY: host-test kunit
