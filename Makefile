# SPDX-License-Identifier: GPL-2.0
# Front door: every target is a script under tools/testing.

host-test: ## unit tests of the pure crates with cargo
	tools/testing/host/run.sh

.PHONY: host-test
