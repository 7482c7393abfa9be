# make demo: from nothing to a verdict.  make test: everything that is checked.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
READY_DEV := $(VENV)/.ready-dev

.PHONY: demo test check lint types layers pytest bench bench-gpu clean help

help:
	@echo "make demo    install into .venv and run the recipe anecdot on the embedded base"
	@echo "make test    install, then lint, types, layers and tests"
	@echo "make check   lint, types and layers only"
	@echo "make bench   the training loop against TRL's, small runs, the data check against pandas"
	@echo "make bench-gpu  an 8B model on an NVIDIA GPU: speed against TRL, memory against the plan"
	@echo "make clean   remove .venv and caches"

demo: $(READY)
	$(BIN)/tunesmith demo

test: check pytest

check: lint types layers

lint: $(READY_DEV)
	$(BIN)/ruff check src tests benchmarks examples
	$(BIN)/ruff format --check src tests benchmarks examples

types: $(READY_DEV)
	$(BIN)/mypy

layers: $(READY_DEV)
	$(BIN)/lint-imports

pytest: $(READY_DEV)
	$(BIN)/pytest -n 2 --dist loadgroup

bench: $(READY_DEV)
	$(BIN)/python benchmarks/train_speed.py
	$(BIN)/python benchmarks/grit_step.py
	$(BIN)/python benchmarks/resident_base.py
	$(BIN)/python benchmarks/data_check.py

bench-gpu: $(READY_DEV)
	$(BIN)/python benchmarks/train_speed_gpu.py
	$(BIN)/python benchmarks/grit_step.py --gpu-8b

# torch first, by itself and pinned: nothing that follows may bring another build of it.
$(READY): pyproject.toml constraints.txt
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	touch $@

$(READY_DEV): $(READY)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
