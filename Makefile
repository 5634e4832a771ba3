# The two lines that matter to newcomers: `make demo`, `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_HOME := .demo-home
DEMO := $(BIN)/gristmill --home $(DEMO_HOME)
CORPORA ?= ../shared/corpora

# Tests start hundreds of processes: none of them is to compile again what another has compiled.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test check format lint types imports docs bench bench-peers bench-documents fault sim fuzz deploy-check manifests clean

help:
	@echo "make demo    set up, ingest the example documents, ask two questions"
	@echo "make test    set up, run the tests"
	@echo "make check   format, lint, types, import contracts, tests, docs"
	@echo "make fault   rounds of every fault and cuts at every byte, on every broker (long);  make bench   measurements (long)"
	@echo "make sim     5,000 simulated schedules of workers and faults (some minutes)"
	@echo "make fuzz    every parser for a minute with documents that are nearly right (FUZZ_SECONDS, FUZZ_PARSERS)"
	@echo "make deploy-check   the files of deploy/, and the image built and run in namespaces (some minutes)"
	@echo "make clean   remove what these made"

# What a user installs; enough for the demo.
$(VENV)/user: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=python3.11 ..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[all]"
	@touch $@

# Everything for development on top.
$(VENV)/developer: $(VENV)/user
	@echo "installing the tools for development ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --group dev --group servers --group deploy
	@touch $@

setup: $(VENV)/developer

demo: $(VENV)/user
	$(DEMO) ingest examples/corpus --dataset demo
	@echo
	$(DEMO) search "What happens to a task when its worker is killed?" --dataset demo --top-k 2
	@echo
	$(DEMO) search "文档更新时，读者会看到什么？" --dataset demo --top-k 2

# A test often waits for a process that starts or for a server, so there are more of them at a time than cores.
TEST_JOBS ?= 3

test: setup
	$(BIN)/python -m pytest -n $(TEST_JOBS) --dist worksteal -m "not fault" $(ARGS)

check: format lint types imports test docs

format: setup
	$(BIN)/ruff format --check src tests bench examples docs

lint: setup
	$(BIN)/ruff check src tests bench examples docs

types: setup
	$(BIN)/mypy

imports: setup
	$(BIN)/lint-imports

docs: setup
	$(BIN)/python docs/generate.py --check
	$(BIN)/towncrier build --draft --version next > /dev/null
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --site-dir build/site

bench: setup
	$(BIN)/python bench/ingest.py --output bench/results/ingest.json
	$(BIN)/python bench/limits.py --output bench/results/limits.json
	$(BIN)/python bench/master.py --output bench/results/master.json
	$(BIN)/python bench/retrieval.py $(CORPORA)/retrieval --output bench/results/retrieval.json

# Gristmill beside other task queues, on one Redis: an hour. Its page of the docs is written anew.
bench-peers: setup
	PYTHON=$(abspath $(BIN))/python bench/peers/run.sh

# Documents: PDFs to chunks beside other pipelines, memory and time of long ones (ten minutes). PDFS is a folder of PDFs. The
# others live in a virtual environment of their own. Their part of the page is written anew, too.
PDFS ?= $(CORPORA)/dev/files
DOCUMENT_PEERS ?= build/document-peers

bench-documents: setup
	test -x $(DOCUMENT_PEERS)/bin/python || $(PYTHON) -m venv $(DOCUMENT_PEERS)
	$(DOCUMENT_PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -r bench/documents_peers.txt
	$(BIN)/python bench/documents.py $(PDFS) --peers $(DOCUMENT_PEERS)/bin/python --output bench/results/documents.json
	$(BIN)/python bench/peers/summary.py page

# Seeded rounds of faults: FAULT_SEED, FAULT_ROUNDS (200 of the engine's) and FAULT_BROKERS choose, a failed one tells how
# it is repeated. FAULT_KILLS and FAULT_REPLACEMENTS (500 and 100) are a master's, on each of two brokers. Most of a round is
# waiting for leases, so there are more of them at a time than cores.
FAULT_OUTPUT ?= bench/results/fault.json
FAULT_JOBS ?= 4

fault: setup
	FAULT_OUTPUT=$(FAULT_OUTPUT) $(BIN)/python -m pytest -n $(FAULT_JOBS) -p no:randomly -m fault tests/fault tests/parsers tests/resilience tests/system $(ARGS)

# SIM_SEED and SIM_ROUNDS say which schedules, and how many.
sim: setup
	$(BIN)/python -m pytest -n 2 -m fault tests/sim $(ARGS)

# FUZZ_SECONDS of each parser (60), FUZZ_PARSERS (all) and FUZZ_SEED choose; what was interesting stays in build/fuzz. A find
# is told with its input, and fails it.
fuzz: setup
	cd tests && $(abspath $(BIN))/python -m fuzz

# As root, who may make namespaces; no container engine is needed.
deploy-check: setup
	$(BIN)/python -m pytest -n 0 -p no:randomly tests/deploy $(ARGS)

# deploy/kubernetes/gristmill.yaml from the chart.
manifests: setup
	PYTHONPATH=tests $(BIN)/python -m deploy.plain

clean:
	rm -rf $(VENV) $(DEMO_HOME) build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
