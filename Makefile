# Everything from a fresh clone, with Python 3.11 or newer and make alone; `make` by itself lists the commands.

PYTHON ?= python3
VENV := .venv/bin/python
PIP := $(VENV) -m pip install --quiet --quiet --disable-pip-version-check
SOURCES := manage.py zekron_api workers billing storage tests
# What a production gives, with hosts that nothing connects to.
PRODUCTION := DEBUG=0 ALLOWED_HOSTS=api.example.com PUBLIC_URL=https://api.example.com STORAGE_URL=file:///srv/zekron \
  DATABASE_URL=postgres://db.example.com/zekron REDIS_URL=redis://redis.example.com/0 \
  MASTER_KEYS=a:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
# PyPI's torch for Linux brings gigabytes of CUDA, which a machine without an NVIDIA GPU has no use for.
REQUIREMENTS := requirements.txt $(wildcard requirements/*.txt)
TORCH := $(shell grep -o '^torch==[^ ]*' requirements/gpu.txt)
TORCH_WITHOUT_CUDA := https://download.pytorch.org/whl/cpu
# Some networks drop packets to other hosts, and pip would wait minutes for each address. Hence one request, of at most
# ten seconds, decides whether pip is asked.
REQUEST := import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5)
# The tests in two processes, each with servers of its own, unless the servers are given.
SIDE_BY_SIDE := $(if $(DATABASE_URL)$(REDIS_URL),,-n 2 --dist loadfile --no-loadscope-reorder)

.DEFAULT_GOAL := help
.PHONY: help demo run test test-fast check fuzz fuzz-schema fuzz-decoders chaos format install install-dev
.SUFFIXES:

help:
	@echo 'make demo     from nothing: one image and one edit through the API, then everything stops'
	@echo 'make run      the same stack, staying up (PORT=8000); prints a key'
	@echo 'make test     all tests'
	@echo 'make test-fast the tests that start no processes and are not slow'
	@echo 'make check    format, lint, types, imports, migrations, settings, tests'
	@echo 'make fuzz     random requests, many more than in make check (FUZZ_EXAMPLES=2000)'
	@echo 'make simulate scenarios of generations in which anything dies at any step, by seed (SIMULATE_FIRST=0 SIMULATE_SEEDS=10000)'
	@echo 'make chaos    everything as real processes, killed, frozen and cut off (CHAOS_JOBS=800 CHAOS_FAULTS=50)'
	@echo 'make bench    what each part costs beside what one would have otherwise (BENCH="png reply"; all without it)'
	@echo 'make bench-gpu the same of the engine on a GPU, with random weights of the true size, in ten minutes'
	@echo 'make mutants  each mutation in turn, to see a test go red for it (MUTANTS="lease" chooses by name)'
	@echo 'make format   formats the code'
	@echo 'make install  the virtual environment alone'

demo: install
	@exec $(VENV) -m zekron_api.local.demo

run: install
	@exec $(VENV) -m zekron_api.local.run

# What the tests need in the way of secrets is made up, also where variables name the servers.
test test-fast check fuzz-schema fuzz-decoders: export DEBUG ?= 1

test: install-dev
	@echo 'Running the tests.'
	@$(VENV) -m pytest -q $(SIDE_BY_SIDE)

# All tests of the ignored folders are slow, and torch takes seconds to import before pytest can see that.
test-fast: install-dev
	@echo 'Running the tests that start no processes and are not slow.'
	@$(VENV) -m pytest -q $(SIDE_BY_SIDE) -m 'not processes and not slow' \
	  --ignore tests/demo_model --ignore tests/workers/pipelines

check: install-dev
	@echo 'Checking the format.'
	@$(VENV) -m ruff format --check --quiet .
	@echo 'Linting.'
	@$(VENV) -m ruff check --quiet .
	@echo 'Checking the types.'
	@$(VENV) -m mypy --no-error-summary
	@echo 'Checking who imports whom.'
	@.venv/bin/lint-imports --no-cache > .venv/imports.log 2>&1 || { cat .venv/imports.log; exit 1; }
	@echo 'Checking that every change of a model has its migration.'
	@$(VENV) manage.py makemigrations --check --dry-run
	@echo "Checking a production's settings."
	@env $(PRODUCTION) SECRET_KEY="$$($(VENV) -c 'import secrets; print(secrets.token_urlsafe(48))')" \
	  $(VENV) manage.py check --deploy --fail-level WARNING > /dev/null
	@$(MAKE) --no-print-directory test

fuzz: fuzz-schema fuzz-decoders

# Another seed each time; schemathesis prints it.
fuzz-schema: export FUZZ_EXAMPLES ?= 2000
fuzz-schema: export FUZZ_SEED ?= $(shell date +%s)
fuzz-schema: install-dev
	@echo 'Sending requests made from the OpenAPI document.'
	@$(VENV) -m pytest -q -rP --show-capture=stdout tests/zekron_api/openapi/test_schema_fuzz.py

# Other cases each time; hypothesis prints the one that failed.
fuzz-decoders: export FUZZ_EXAMPLES ?= 2000
fuzz-decoders: install-dev
	@echo 'Giving broken images, keys, envelopes and bodies to what reads them.'
	@$(VENV) -m pytest -q tests/fuzz

.PHONY: simulate
simulate: export DEBUG ?= 1
simulate: export SIMULATE_SEEDS ?= 10000
simulate: export SIMULATE_FIRST ?= 0
simulate: install-dev
	@echo 'Running $(SIMULATE_SEEDS) scenarios.'
	@$(VENV) -m tests.simulation

# Another seed each time, printed first; CHAOS_SEED=… replays its choice of faults.
chaos: install-dev
	@exec $(VENV) -m tests.chaos

.PHONY: bench
bench: .venv/installed-bench
	@$(VENV) -m bench $(BENCH)

# Of the GPU that is there; BENCH_GPU="--small" tries the benchmarks themselves on any machine.
.PHONY: bench-gpu
bench-gpu: install
	@$(VENV) -m bench.gpu $(BENCH_GPU)

.PHONY: mutants
mutants: install-dev
	@exec $(VENV) -m tests.mutants $(MUTANTS)

format: install-dev
	@$(VENV) -m ruff check --fix --quiet . || true
	@$(VENV) -m ruff format --quiet .

install: .venv/installed
install-dev: .venv/installed-dev

.venv/installed: $(REQUIREMENTS) .venv/made
	@echo 'Installing what requirements.txt names (the first time this takes minutes).'
	@if [ "$$(uname -s)" = Linux ] && ! command -v nvidia-smi > /dev/null; then \
	  { timeout 10 $(VENV) -c '$(REQUEST)' $(TORCH_WITHOUT_CUDA)/torch/ \
	    && $(PIP) --no-deps --index-url $(TORCH_WITHOUT_CUDA) $(TORCH); } > .venv/torch.log 2>&1 \
	  || echo '  $(TORCH_WITHOUT_CUDA) is not available; pip takes the usual torch.'; fi
	@$(PIP) --requirement requirements.txt
	@touch $@

.venv/installed-dev: requirements-dev.txt .venv/installed
	@echo 'Installing what requirements-dev.txt names.'
	@$(PIP) --requirement requirements-dev.txt
	@touch $@

# What cannot be had is said by each benchmark that is left out for it.
.venv/installed-bench: bench/requirements.txt .venv/installed
	@echo 'Installing what bench/requirements.txt names.'
	@$(PIP) --retries 1 --requirement bench/requirements.txt && touch $@ || echo '  that did not work'

# Debian's Python comes without the part that puts pip into a virtual environment, unless python3-venv is installed.
.venv/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'zekron needs Python 3.11 or newer, and $(PYTHON) is not: name another, as in `make PYTHON=python3.12 $(MAKECMDGOALS)`' >&2; \
	  exit 1; }
	@echo 'Making the virtual environment .venv.'
	@$(PYTHON) -m venv .venv > /dev/null 2>&1 || { \
	  rm -rf .venv && $(PYTHON) -m venv --without-pip .venv && $(PYTHON) -m pip --quiet --python $(VENV) install pip; } || { \
	  echo 'There is neither venv nor pip for $(PYTHON): install python3-venv' >&2; exit 1; }
	@touch $@
