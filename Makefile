# make demo    index the Python standard library and ask it questions (QUERY="…" and MODEL=… are yours to set)
# make test    run the tests
# make lint    run the linter, the formatter's check and the type checker
# make clean   remove what the others made
#
# Each creates .venv and installs what it needs. PYTHON chooses the interpreter; TORCH_INDEX_URL where torch comes
# from, for example https://download.pytorch.org/whl/cpu for its wheels without CUDA.

PYTHON ?= python3
TORCH_INDEX_URL ?=
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint .ci/constraints.txt

.PHONY: install demo test lint clean

install: .venv/dev

.venv/torch: .ci/constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(PIP) $(if $(TORCH_INDEX_URL),--index-url $(TORCH_INDEX_URL)) torch
	touch $@

.venv/dev: .venv/torch pyproject.toml
	$(PIP) --editable '.[dev]'
	touch $@

.venv/demo: .venv/torch pyproject.toml
	$(PIP) --editable '.[demo]'
	touch $@

demo: .venv/demo
	$(BIN)/python examples/demo.py $(if $(MODEL),--model '$(MODEL)') $(if $(QUERY),'$(QUERY)')

test: .venv/dev
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf .venv demo-store build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
