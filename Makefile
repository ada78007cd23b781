# make demo   install maskling, then run every step from text to filled masks, on text that is already on this machine
# make test   install the development tools too, then run the tests
# make docs   write the reference pages, and build the documentation site with search in build/site
# make check  what CI runs: format, lint, types, import contracts, generated docs, tests

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip --quiet --disable-pip-version-check
# A machine without an NVIDIA driver takes the CPU build of torch; one with it takes the CUDA build.
TORCH_INDEX := $(shell command -v nvidia-smi >/dev/null 2>&1 || echo --extra-index-url https://download.pytorch.org/whl/cpu)
DEMO ?= demo

.PHONY: install setup demo test test-all check lint format docs release clean
.NOTPARALLEL:

# maskling alone, which is all that the demo needs
install: $(VENV)/.installed

# maskling with every extra and the tools for tests, checks and documentation
setup: $(VENV)/.ready

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "maskling needs Python 3.11 or newer; say which with: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	# Torch first and alone: were its index asked for every package, one that cannot be reached would cost minutes.
	$(PIP) install --retries 1 --no-deps $(TORCH_INDEX) torch
	$(PIP) install -e .
	touch $@

$(VENV)/.ready: $(VENV)/.installed
	$(PIP) install -e ".[dev]"
	touch $@

demo: install
	$(BIN)/python -m maskling prepare python-docs: --out $(DEMO)/data --tokenizer.vocab-size 8000
	$(BIN)/python -m maskling train --preset mini --data $(DEMO)/data --out $(DEMO)/run --budget 6m
	$(BIN)/python -m maskling fill $(DEMO)/run --file examples/python_masks.txt

test: setup
	$(BIN)/python -m pytest -n 2

test-all: setup
	$(BIN)/python -m pytest -n 2 -m "slow or not slow"
	# What computes, once more with the instructions that every x86-64 processor of the last ten years has.
	ONEDNN_MAX_CPU_ISA=AVX2 $(BIN)/python -m pytest -n 2 tests/model tests/objectives tests/train tests/infer \
		tests/finetuning tests/evaluation tests/exporting

check: lint test

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/generate.py --check
	$(BIN)/python docs/build_site.py

docs: setup
	$(BIN)/python docs/generate.py
	$(BIN)/python docs/build_site.py

# Build, check and try the packages of a release; upload nothing.
release: setup
	$(PIP) install -e ".[release]"
	$(BIN)/python release.py

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) $(DEMO) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
