# Backstop. `make demo` and `make test` are all that a new user needs.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
ROOT := $(shell id -u)

.PHONY: help demo test test-clients lint bench

help: ## Show what there is to make
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

demo: ## Build, find or install a Redis, kill agents, and see their tasks come back
	@export BACKSTOP_REDIS_SERVER="$$(tools/ensure-redis)"; \
	cargo build --release --quiet; \
	exec "$${CARGO_TARGET_DIR:-target}/release/backstop" demo

test: ## Install what the tests need, and run all of them on a real Redis and a real Valkey
	@if [ "$(ROOT)" = 0 ] && command -v apt-get >/dev/null; then \
		tools/ensure-debian redis-server prometheus systemd faketime ruby-sidekiq ruby-gitlab-sidekiq-fetcher; \
	else \
		tools/without-debian; \
		export BACKSTOP_TEST_WITHOUT_DEBIAN=1; \
	fi; \
	runner=(cargo test --quiet); \
	if cargo nextest --version >/dev/null 2>&1; then runner=(cargo nextest run); fi; \
	engine="$$(tools/ensure-redis)"; \
	echo "== on $$("$$engine" --version | cut -d' ' -f1-3)"; \
	BACKSTOP_REDIS_SERVER="$$engine" "$${runner[@]}"; \
	cargo test --quiet --doc; \
	valkey="$$(tools/ensure-redis --valkey)"; \
	if [ "$$valkey" != "$$engine" ]; then \
		echo "== on $$("$$valkey" --version | cut -d' ' -f1-3)"; \
		BACKSTOP_REDIS_SERVER="$$valkey" "$${runner[@]}" --test integration -- \
			--skip languages::the_python --skip languages::the_node; \
	fi

test-clients: ## Run other systems' real clients beside Backstop, and our own in other languages
	@engine="$$(tools/ensure-redis)"; \
	BACKSTOP_REDIS_SERVER="$$engine" cargo test --quiet --test integration --example conformance_driver clients:: languages::

lint: ## Format, lints, documentation, the library alone
	@cargo fmt --check
	@cargo clippy --quiet --all-targets -- -D warnings
	@cargo clippy --quiet --lib --no-default-features --features agent -- -D warnings
	@RUSTDOCFLAGS="-D warnings" cargo doc --quiet --no-deps --document-private-items

bench: ## Measure what docs/performance.md states
	@export BACKSTOP_REDIS_SERVER="$$(tools/ensure-redis)"; \
	cargo bench --quiet --bench figures
