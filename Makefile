# Everything a person needs, each target complete in itself: it installs what is missing and says so.
PY := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint types format bench clean

help:  ## show this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 18

setup:  ## install what is missing: Debian packages, .venv, the project
	@.ci/setup

demo: setup  ## the example cluster on this machine: a failover, measured (root)
	@.venv/bin/appliance lab demo

test: setup  ## lint, types, contracts, unit, simulation, wheel, example plugin, real kernel, qemu (root)
	@$(PY) .ci/stages.py

lint: setup  ## ruff's rules and formatting
	@$(PY) .ci/stages.py lint

types: setup  ## mypy, strict
	@$(PY) .ci/stages.py types

format: setup  ## format the code and sort imports
	@.venv/bin/ruff check --select I --fix -q . && .venv/bin/ruff format .

bench: setup  ## failover and replication numbers against ucarp, keepalived and conntrackd (root)
	@$(PY) tests/bench/run.py

clean:  ## remove everything that was built or installed here
	@rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@echo "clean: removed .venv, caches and build results"
