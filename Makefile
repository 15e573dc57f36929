# The two commands: `make demo` and `make test`. Both make .venv from setup.cfg when it is missing or out of date.
PYTHON ?= python3
BIN := .venv/bin
OLDEST := .venv-oldest/bin

.PHONY: demo test test-fast test-oldest coverage lint docs bench

demo: .venv/installed
	$(BIN)/fsar demo

test: .venv/installed
	$(BIN)/python -m pytest -n 2

# The part that a minute is enough for: numbers, shapes, episodes, splits; no command, no training, no page.
test-fast: .venv/installed
	$(BIN)/python -m pytest -n 2 -m fast

# With the lower bounds of setup.cfg; needs uv and Python 3.11.
test-oldest:
	uv venv --python 3.11 --allow-existing .venv-oldest
	uv pip install --python $(OLDEST)/python --resolution lowest-direct -e '.[dev]'
	$(OLDEST)/python -m pytest -n 2

# The suite, and which lines and branches of fsar and episodes it ran.
coverage: .venv/installed
	$(BIN)/python -m pytest -n 2 --cov --cov-report=term

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
