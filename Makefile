# voicegw. `make help` lists what can be made.

VENV := .venv
PY := $(VENV)/bin/python
PYTHON ?= python3
EXTRAS ?= embedded
CONSTRAINTS ?= constraints.txt
# Tests at a time. Most of the suite's time is calls in real time that wait for each other's words: more than cores.
JOBS ?= 3
PIP_INSTALL = $(PY) -m pip install --quiet --disable-pip-version-check $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS))
STAMP := $(VENV)/.installed
DEV := $(VENV)/.installed-dev
LLAMA := $(VENV)/.installed-llama

.DEFAULT_GOAL := help
.PHONY: always help setup run test lint check format bench ci-deps clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("voicegw needs Python 3.11 or newer, this is " + sys.version) if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "Python cannot make a virtual environment here. On Debian: apt-get install python3-venv" >&2; exit 2; }

# EXTRAS=... on the command line are installed, whatever has been before.
$(STAMP): setup.cfg pyproject.toml $(CONSTRAINTS) $(if $(filter command,$(origin EXTRAS)),always) | $(VENV)/bin/python
	@echo "Installing voicegw into $(VENV) (a minute or two the first time)"
	$(PIP_INSTALL) --editable '.[$(EXTRAS)]'
	@touch $@

$(DEV): setup.cfg pyproject.toml $(CONSTRAINTS) | $(VENV)/bin/python
	@echo "Installing voicegw and its development tools into $(VENV) (a few minutes the first time)"
	$(PIP_INSTALL) --editable '.[dev]'
	@touch $@ $(STAMP)

# Only from source: ten minutes. Tests of the language model of our own are left out without it.
$(LLAMA): $(DEV)
	@echo "Building llama-cpp-python (some ten minutes)"
	CMAKE_ARGS="-DGGML_NATIVE=OFF -DLLAVA_BUILD=OFF" $(PIP_INSTALL) --editable '.[llamacpp]'
	@touch $@

setup: $(STAMP) ## Prepare .venv with everything `make run` needs

run: $(STAMP) ## Set up, start the server on embedded defaults and print how to call it
	$(VENV)/bin/voicegw run $(ARGS)

test: $(DEV) ## Set up and run the whole test suite
	$(PY) -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(DEV) ## Lint and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

check: lint test ## Lint, types and tests

format: $(DEV) ## Format the code
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

bench: $(DEV) ## Measure: audio plane, whole calls, speech (about 15 minutes)
	$(PY) -m bench $(ARGS)

ci-deps: ## Install what the tests drive (Debian): sipp, baresip, flite, chromium, coturn, recorded prompts
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	    sip-tester baresip openssl flite chromium chromium-driver coturn asterisk-core-sounds-en-wav iproute2 python3-venv g++
	$(MAKE) $(LLAMA)
	$(PIP_INSTALL) --editable '.[fuzz]'

clean: ## Remove caches and the virtual environment
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
