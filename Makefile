# Every target does its own set-up: on a fresh machine with make, the first run prepares .venv, later ones cost nothing.
# Variables come through the environment into each recipe, so that spaces and quotes in a path do no harm.
.DEFAULT_GOAL := help
.PHONY: help run up down test soak check lint types imports contract-check unit fuzz faults faults-table protos baseline bench bench-growth bench-memory bench-smoke bench-startup lock upgrade clean
.DELETE_ON_ERROR:

OUT ?= pictures
bin := .venv/bin
export INPUT OUT RECIPE ARGS CASES SEED ITEMS PYTHON

help:
	@echo 'make run                           the demo: a local server with good pictures and some trouble'
	@echo 'make run INPUT=urls.txt OUT=dir    your own list of URLs (RECIPE=name or file, ARGS="more options")'
	@awk -F ' *: .*## ' '/^[a-z-]+ *:.*## / { printf "make %-29s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.venv/.ready-runtime: requirements/runtime.txt requirements/build.txt pyproject.toml tools/setup.sh
	@tools/setup.sh runtime

.venv/.ready-dev: requirements/dev.txt pyproject.toml tools/setup.sh
	@tools/setup.sh dev

.venv/.ready-servers: tools/servers.sh .venv/.ready-dev
	@tools/servers.sh

# The demo ends with 0 when it went as planned, its broken pictures included. With INPUT, imagemill's own exit code says
# how it went (1: some items failed); make reports it as "Error 1" and ends with 2 itself.
run: .venv/.ready-runtime
	@if [ -n "$$INPUT" ]; then \
	    exec $(bin)/imagemill run "$$INPUT" -o "$$OUT" $${RECIPE:+--recipe "$$RECIPE"} $$ARGS; \
	else \
	    exec $(bin)/imagemill demo $$ARGS; \
	fi

up: .venv/.ready-dev .venv/.ready-servers ## A mill of several processes on this machine: RabbitMQ, PostgreSQL and all services
	@$(bin)/python tools/mill.py up

down: .venv/.ready-dev ## Stop it; it keeps its batches in .mill
	@$(bin)/python tools/mill.py down

# In `make check test` the tests without a server run once. The look at the speed comes last: it wants the machine alone.
test: .venv/.ready-dev .venv/.ready-servers $(if $(ARGS),,unit) ## All tests and a look at the speed, or the tests of ARGS
	$(bin)/pytest $${ARGS:-tests --ignore=tests/unit --ignore=tests/guards}
	@[ -n "$$ARGS" ] || $(MAKE) --no-print-directory bench-smoke

soak: .venv/.ready-dev .venv/.ready-servers ## Two of every service under load for ten minutes (SECONDS_LONG=600)
	IMAGEMILL_TEST_SOAK_S="$${SECONDS_LONG:-600}" $(bin)/pytest tests/scenarios/test_doubled_load.py $$ARGS

check: lint types imports contract-check unit ## Style, types, import rules, contract, unit tests; two minutes

lint: .venv/.ready-dev ## Style and format
	$(bin)/ruff check --quiet
	$(bin)/ruff format --check --quiet

types: .venv/.ready-dev ## Strict types
	$(bin)/mypy

imports: .venv/.ready-dev ## Who may import whom
	@$(bin)/lint-imports --no-logo --config .importlinter >.venv/imports.log || { cat .venv/imports.log; exit 1; }

contract-check: .venv/.ready-dev ## The API: linted, compatible with the last release, generated code fresh
	$(bin)/buf lint
	$(bin)/buf breaking --against protos/baseline.binpb
	tools/protos.sh --check

unit: .venv/.ready-dev ## Tests without a server
	$(bin)/pytest tests/unit tests/guards

protos: .venv/.ready-dev ## Write imagemill/v1 and imagemill/keda anew from protos/
	tools/protos.sh

baseline: .venv/.ready-dev ## At a release: make the present API the one that must stay readable
	$(bin)/buf build --exclude-source-info -o protos/baseline.binpb

fuzz: .venv/.ready-dev ## Damaged input of every kind at random (CASES=20000 pictures, SEED=number to repeat a run)
	IMAGEMILL_TEST_FUZZ_CASES="$${CASES:-20000}" IMAGEMILL_TEST_FUZZ_SEED="$${SEED:-$$(date +%s)}" \
	    $(bin)/pytest tests/fuzz --timeout=3600 $$ARGS

faults: .venv/.ready-dev .venv/.ready-servers ## Services, broker and database killed hundreds of times, half an hour (SEED="1 2 3", ITEMS=10000)
	$(bin)/python -m tests.faults --items "$${ITEMS:-10000}" --seeds $${SEED:-1 2 3} $$ARGS

faults-table: .venv/.ready-dev ## Compute docs/reference/guarantees.md from the records of make faults
	$(bin)/python -m tests.faults.table

bench: .venv/.ready-dev .venv/.ready-servers ## Speed, measured beside others in the same run (ARGS="--help" for choices)
	$(bin)/python -m benchmarks $$ARGS

bench-smoke: .venv/.ready-dev ## Half a minute's look at whether the mill has become much slower
	$(bin)/python -m benchmarks.smoke $$ARGS

bench-growth: .venv/.ready-dev ## How cost grows from a thousand items up
	$(bin)/python -m benchmarks.growth $$ARGS

bench-memory: .venv/.ready-dev ## Peak memory with few and with many lines
	$(bin)/python -m benchmarks.memory $$ARGS

bench-startup: .venv/.ready-dev ## How soon the command is there
	$(bin)/python -m benchmarks.startup $$ARGS

lock: .venv/.ready-dev ## Write requirements/ anew from pyproject.toml, keeping releases where they fit
	tools/lock.sh

upgrade: .venv/.ready-dev ## The same, with the newest releases
	tools/lock.sh --upgrade

clean: ## Remove what set-up, tests, the demo and benchmarks left behind; never pictures
	rm -rf .venv .bench .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
	[ ! -e demo/.imagemill-demo.json ] || rm -rf demo
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
