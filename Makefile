# Two commands matter: `make serve` and `make test`. Both set up what they need, the first time.
# `make help` lists the rest. CI calls these targets verbatim.

PYTHON ?= python3
VENV   ?= .venv
ENGINE ?=
HOST   ?=
PORT   ?=
ARGS   ?=

RUN := $(VENV)/bin
PIP := $(RUN)/python -m pip --disable-pip-version-check
# pip's own bounds: a registry that does not answer ends the set-up instead of hanging it.
export PIP_DEFAULT_TIMEOUT ?= 60
export PIP_RETRIES ?= 3
export PIP_NO_INPUT = 1
export PIP_ROOT_USER_ACTION = ignore

# A set-up step is done when the file named by the hash of everything it depends on exists, so a
# repeated call costs nothing, and a changed lock, project file or folder sets up again.
KEY := $(shell { cat constraints.txt pyproject.toml; pwd; } | sha256sum | cut -c1-16)
SERVE_READY := $(VENV)/.serve-$(KEY)
TEST_READY  := $(VENV)/.test-$(KEY)
TRITON_READY := $(VENV)/.triton-$(KEY)
CLIENTS     := tests/integration/clients
CLIENTS_KEY := $(shell cat $(CLIENTS)/package*.json 2>/dev/null | sha256sum | cut -c1-16)
CLIENTS_READY := $(if $(wildcard $(CLIENTS)/package.json),$(CLIENTS)/node_modules/.ready-$(CLIENTS_KEY))

# What CI must not skip: with --require a missing service is a failure, not a skip.
REQUIRE := --require nginx --require node --require torch --require cpu --require sandbox --require redis --require languages --require chromium --require browser
# Triton and the transformers of its container too, but where their wheels cannot run; there the
# tests skip, and say why.
REQUIRE_TRITON = $(shell $(RUN)/python -c 'from server.tritonserver.environment import unsupported; \
  print("" if unsupported() else "--require triton --require container-python")')
# Files of tests over all cores; a file stays with one worker, whose fixtures it shares.
SPREAD := -n $(or $(WORKERS),logical) --maxprocesses 8 --dist loadfile
ALL_EXTRAS := cpu,train,tracking,flow,triton,redis,otel,ab,data,spark,loadtest,eval,docker,ray,dev

.DEFAULT_GOAL := help
.PHONY: help serve test test-all check format docs bench load measure measure-triton clean lock setup-serve setup-test setup-system

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14
	@echo
	@echo "Example: make serve PORT=8123 HOST=127.0.0.1 ENGINE=cpu"

# A Triton of its own goes with ENGINE=triton; to ask another: tabwright serve --engine triton.
BY_TRITON := $(filter triton,$(ENGINE))
serve: $(if $(BY_TRITON),$(TRITON_READY),$(SERVE_READY)) ## Set up and start the server (PORT=8123 HOST=127.0.0.1 ENGINE=cpu|scripted|triton)
	@exec $(RUN)/tabwright $(if $(BY_TRITON),triton serve,serve $(if $(ENGINE),--engine $(ENGINE))) \
	  $(if $(HOST),--host $(HOST)) $(if $(PORT),--port $(PORT)) $(ARGS)

test: setup-test ## Set up everything, system packages included; lint, types, imports, tests (WORKERS=N)
	@$(MAKE) --no-print-directory check
	$(RUN)/python -m pytest $(SPREAD) -m "not slow" $(REQUIRE) $(REQUIRE_TRITON) $(ARGS)

test-all: setup-test ## The same with the long tail (tests marked slow)
	@$(MAKE) --no-print-directory check
	$(RUN)/python -m pytest $(SPREAD) -m "slow or not slow" $(REQUIRE) $(REQUIRE_TRITON) $(ARGS)

check: $(TEST_READY) ## Lint, formatting, types, import rules
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy
	$(RUN)/lint-imports --config pyproject.toml

format: $(TEST_READY) ## Rewrite the sources in the house format
	$(RUN)/ruff check --fix .
	$(RUN)/ruff format .

docs: $(TEST_READY) ## Regenerate docs/configuration.md from the settings
	$(RUN)/python -m tests.repository.configuration_page

bench: $(SERVE_READY) ## Measure the engine on this machine (decode, first token, 8 at once)
	@exec $(RUN)/tabwright bench $(ARGS)

load: $(TEST_READY) ## Let developers type at a server of its own (USERS=16 DURATION=60 seconds)
	@exec $(RUN)/python -m loadtest --users $(or $(USERS),16) --duration $(or $(DURATION),60) $(ARGS)

measure: $(TEST_READY) ## Write docs/results anew (idle machine; HOLES=FILE for the quality too)
	$(RUN)/python docs/results/where.py >docs/results/where.json
	$(RUN)/tabwright bench --rounds 7 --json >docs/results/bench.json
	$(RUN)/tabwright cancel-bench --json >docs/results/cancel.json
	-$(RUN)/tabwright serve --port 8129 >/dev/null & server=$$!; trap "kill $$server" EXIT; \
	  curl -sf --retry 60 --retry-delay 1 --retry-all-errors http://127.0.0.1:8129/readyz; \
	  $(RUN)/tabwright conformance --base-url http://127.0.0.1:8129 --json >docs/results/conformance.json; \
	  $(RUN)/python -m loadtest.replay --base-url http://127.0.0.1:8129 >docs/results/replay.json
	-$(RUN)/python -m loadtest --report docs/results/load.json >/dev/null
	$(RUN)/tabwright parse-bench --json >docs/results/postprocess.json
	$(RUN)/python docs/results/ingest.py >docs/results/ingest.json
	$(RUN)/python docs/results/gates.py >docs/results/gates.json
	$(if $(HOLES),$(RUN)/tabwright quality --holes $(HOLES) >docs/results/quality.txt)

measure-triton: $(TEST_READY) ## Write docs/results/triton_*.json anew, in 12 minutes at most (idle machine)
	$(RUN)/tabwright triton install
	-$(RUN)/python -m docs.results.triton_contract >docs/results/triton_contract.json
	-$(RUN)/python -m docs.results.triton_cancel >docs/results/triton_cancel.json
	-$(RUN)/python -m docs.results.triton_overhead >docs/results/triton_overhead.json

clean: ## Remove environments, caches and generated files (not the models)
	rm -rf .venv .venv-lock build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache \
	  .import_linter_cache .hypothesis .coverage htmlcov $(CLIENTS)/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

lock: ## Resolve every extra anew and rewrite constraints.txt
	rm -rf .venv-lock
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install $(shell grep '^torch==' constraints.txt) hatchling
	.venv-lock/bin/python -m pip install --no-build-isolation -e '.[$(ALL_EXTRAS)]'
	{ sed -n '/^#/p' constraints.txt; .venv-lock/bin/python -m pip freeze --exclude-editable --all \
	  | grep -vE '^pip==| @ ' | sed 's/+cpu$$//'; } > constraints.new
	mv constraints.new constraints.txt
	rm -rf .venv-lock

setup-serve: $(SERVE_READY)

setup-test: $(TEST_READY) setup-system $(CLIENTS_READY)
	@$(RUN)/tabwright triton install --if-supported

setup-system:
	@sh tests/system_packages.sh

$(RUN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# The build backend comes from the lock too: without isolation pip builds with what is installed.
$(SERVE_READY): | $(RUN)/python
	@echo "setting up $(VENV) for serving: once, about a minute"
	@$(PIP) install -q -c constraints.txt hatchling
	@$(PIP) install -q -c constraints.txt --no-build-isolation -e '.[cpu]'
	@rm -f $(VENV)/.serve-* $(VENV)/.test-* $(VENV)/.triton-*
	@touch $@

# For the export, and for the server's stub, which borrows torch.
$(TRITON_READY): | $(RUN)/python
	@echo "setting up $(VENV) for serving from Triton: once, a few minutes"
	@$(PIP) install -q -c constraints.txt $(shell grep '^torch==' constraints.txt) hatchling
	@$(PIP) install -q -c constraints.txt --no-build-isolation -e '.[cpu,train,triton]'
	@rm -f $(VENV)/.serve-* $(VENV)/.test-* $(VENV)/.triton-*
	@touch $(SERVE_READY) $@

# torch first and by itself: asked for through a range, the newest build would be taken.
$(TEST_READY): | $(RUN)/python
	@echo "setting up $(VENV) for tests: once, a few minutes"
	@$(PIP) install -q -c constraints.txt $(shell grep '^torch==' constraints.txt) hatchling
	@$(PIP) install -q -c constraints.txt --no-build-isolation -e '.[cpu,train,data,triton,redis,otel,loadtest,eval,docker,dev]'
	@rm -f $(VENV)/.serve-* $(VENV)/.test-* $(VENV)/.triton-*
	@touch $(SERVE_READY) $(TRITON_READY) $@

$(CLIENTS)/node_modules/.ready-%: $(CLIENTS)/package.json
	@test -f $(CLIENTS)/package-lock.json && verb=ci || verb=install; \
	  cd $(CLIENTS) && timeout 600 npm $$verb --no-audit --no-fund --loglevel=error
	@rm -f $(CLIENTS)/node_modules/.ready-*
	@touch $@
