# What a developer types. Every target does its own set-up: Python packages go into .venv and nowhere else; Debian
# packages with the servers and clients that tests and benchmark run are installed if root types it, else named.

PYTHON := $(or $(wildcard /usr/bin/python3),python3)
BIN := .venv/bin

# fakeroot: an ordinary user's Postfix must believe that it is root.
TEST_PACKAGES := dovecot-imapd postfix fakeroot isync mutt curl groff-base
BENCH_PACKAGES := nginx libnginx-mod-mail haproxy dovecot-imapd postfix fakeroot

.PHONY: help demo test lint types packages bench format clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' Makefile | expand -t 16

demo: .venv/demo.stamp ## send mail through the proxy between embedded servers; KEEP=1 leaves them running
	@$(BIN)/python docs/demo/demo.py

# The last step is silent if the pure folders are covered whole: pytest's own summary is the last line.
test: lint types packages ## style, types, all tests with real servers and clients, coverage
	@$(BIN)/pytest --cov
	@report=$$($(BIN)/coverage report --include 'imapproxy/protocol/*,imapproxy/message/*' --fail-under 100) \
		|| { echo "$$report"; exit 1; }

lint: .venv/test.stamp ## style only
	@$(BIN)/ruff check . bin/imapproxy
	@$(BIN)/ruff format --check . bin/imapproxy

types: .venv/test.stamp ## types only
	@$(BIN)/mypy --strict

# Tests whose packages are missing are skipped and say so; in CI that is a failure.
packages: ## Debian packages for the tests, as root
	@tests/setup/install-packages $(TEST_PACKAGES) || test -z "$$CI"

bench: .venv/test.stamp ## measure the proxy beside nginx, HAProxy and a classic client; ARGS=--help for its options
	@tests/setup/install-packages $(BENCH_PACKAGES) || true
	@$(BIN)/python -m bench $(ARGS)

format: .venv/test.stamp ## let ruff mend the style
	@$(BIN)/ruff check --fix . bin/imapproxy
	@$(BIN)/ruff format . bin/imapproxy

clean: ## remove everything that make made
	rm -rf .venv build *.egg-info .coverage htmlcov .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/pip:
	@tests/setup/make-venv $(PYTHON) .venv

.venv/demo.stamp: setup.py pyproject.toml | .venv/bin/pip
	@$(BIN)/pip install --quiet --editable '.[demo]'
	@touch $@

.venv/test.stamp: setup.py pyproject.toml | .venv/bin/pip
	@$(BIN)/pip install --quiet --editable '.[demo,test]'
	@touch $@ .venv/demo.stamp
