# `make demo` and `make test` do all the set-up themselves: a virtual environment with locked versions.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
OLDEST := .venv-oldest
REQUIREMENTS := tests/requirements

.PHONY: demo test test-oldest lint types bench simulate check lock ops clean e2e stack stack-up stack-down stack-status

demo: $(VENV)/ready ## a tool-using agent, observed and governed, on this machine
	$(VENV)/bin/otel-tools demo

test: $(VENV)/ready ## the tests, with the newest supported libraries
	$(VENV)/bin/python -m pytest

test-oldest: $(OLDEST)/ready ## the tests, with the oldest supported majors
	$(OLDEST)/bin/python -m pytest

lint: $(VENV)/ready
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(VENV)/ready
	$(VENV)/bin/mypy

bench: $(VENV)/bench ## what a call costs, beside hand-written telemetry and other circuit breakers
	$(VENV)/bin/python -m tests.bench

simulate: $(VENV)/ready ## an hour of traffic with faults on a virtual clock: no wedge, no leak
	$(VENV)/bin/python -m tests.simulation

check: lint types test test-oldest

lock: ## choose versions anew (needs uv)
	for set in newest oldest; do \
	  uv pip compile --quiet --python-version 3.11 --no-header --no-emit-index-url --no-annotate --upgrade \
	    --output-file $(REQUIREMENTS)/$$set.txt $(REQUIREMENTS)/$$set.in pyproject.toml; \
	done
	uv pip compile --quiet --python-version 3.11 --no-header --no-emit-index-url --no-annotate --upgrade \
	  --output-file $(REQUIREMENTS)/bench.txt $(REQUIREMENTS)/bench.in

stack: ## build Collector, Jaeger, Prometheus and Alertmanager with Go, where they are not yet; no Docker
	$(PYTHON) -B collector-config/stack.py build

stack-up: stack ## run them on this machine; LAYERS="redaction tail-sampling" for more of the Collector
	$(PYTHON) -B collector-config/stack.py up $(LAYERS)

stack-down: ## stop them
	$(PYTHON) -B collector-config/stack.py down

stack-status: ## what runs, and where
	$(PYTHON) -B collector-config/stack.py status

e2e: $(VENV)/ready stack ## the demo's agent on the real servers: traces, every rule and panel, an alert, an outage, a canary
	$(VENV)/bin/python -m pytest -s tests/e2e tests/stack/test_life.py::test_traces_outlive_the_collector

ops: $(VENV)/ready ## render rules, dashboards and runbooks anew; tests compare them with what is committed
	$(VENV)/bin/otel-tools rules --out collector-config/prometheus/rules
	$(VENV)/bin/otel-tools dashboards --out grafana-dashboards
	$(VENV)/bin/otel-tools runbook --alerts --out collector-config/runbooks

clean:
	rm -rf $(VENV) $(OLDEST) .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/ready: $(REQUIREMENTS)/newest.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "otel-tools needs Python 3.11 or newer: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --requirement $(REQUIREMENTS)/newest.txt
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

$(VENV)/bench: $(VENV)/ready $(REQUIREMENTS)/bench.txt
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --requirement $(REQUIREMENTS)/bench.txt
	touch $@

$(OLDEST)/ready: $(REQUIREMENTS)/oldest.txt pyproject.toml
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/pip install --quiet --disable-pip-version-check --requirement $(REQUIREMENTS)/oldest.txt
	$(OLDEST)/bin/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@
