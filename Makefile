# Everything runs in .venv, which the first command makes.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: quickstart test test-all soak bench lint format clean

quickstart: .venv/.installed  ## Install, run a first experiment, and say where its report lies.
	$(BIN)/fedssl run configs/quickstart.yaml

test: .venv/.installed-test  ## The fast tests, under 5 minutes on 2 cores.
	$(BIN)/pytest -n auto -m "not slow"

test-all: lint test  ## All checks: lint, types, layers, fast and slow tests.
	$(BIN)/pytest -m slow

soak: .venv/.installed-test  ## 2,000 rounds with faulty clients: what of the process grows?
	$(BIN)/python -m tests.soak --out runs/soak

bench: .venv/.installed-test  ## A million clients, every measure; AGAINST=flower,pfl,lightly, JSON=file; or GROWTH=folder.
	$(BIN)/python -m tests.benchmarks $(if $(AGAINST),--against $(AGAINST)) $(if $(JSON),--json $(JSON)) $(if $(GROWTH),--growth $(GROWTH))

lint: .venv/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv

.venv/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("fedssl needs Python 3.11 or newer: make PYTHON=...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/.installed-test: .venv/.installed
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@
