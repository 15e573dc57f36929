# The two commands: `make demo` and `make test`. Both make .venv from setup.cfg when it is missing or out of date.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint docs bench

demo: .venv/installed
	$(BIN)/fsar demo

test: .venv/installed
	$(BIN)/python -m pytest -n 2

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: .venv/installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: .venv/installed
	$(BIN)/python tools/bench_alignment.py --quick
	$(BIN)/python tools/bench_decoding.py

.venv/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --upgrade pip
	$(BIN)/python -m pip install -e '.[dev]'
	touch .venv/installed
