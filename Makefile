# Each target creates .venv and installs its dependencies. `make help` prints the comments that begin with ##.

## PYTHON            the interpreter for .venv, python3 by default
## TORCH_INDEX_URL   the package index for torch, such as https://download.pytorch.org/whl/cpu for wheels without CUDA
## CONSTRAINTS       the file with the versions to install, .ci/constraints.txt by default; empty for the newest versions
## QUERY             your own question for the demo, such as QUERY="how do I parse a date"
## MODEL             a ColBERT checkpoint for the demo: a folder, or a name on the Hugging Face Hub

PYTHON ?= python3
TORCH_INDEX_URL ?=
CONSTRAINTS ?= .ci/constraints.txt
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet $(addprefix --constraint ,$(CONSTRAINTS))

# The demo reads these from the environment, so neither make nor the shell interprets their content.
override QUERY := $(value QUERY)
override MODEL := $(value MODEL)
export QUERY MODEL

.PHONY: help install demo test lint docs generate constraints clean

help: ## print this help
	@awk 'BEGIN { FS = ":.*## " } /^[a-z]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@awk '/^## / { if (!n++) print "\nVariables, for example make test PYTHON=python3.13:"; print substr($$0, 4) }' $(MAKEFILE_LIST)

install: .venv/dev ## install the package in editable mode, with the dependencies of tests and linters

.venv/torch: $(CONSTRAINTS)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: run make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(if $(TORCH_INDEX_URL),$(PIP) --no-deps --index-url $(TORCH_INDEX_URL) torch)
	$(PIP) $(addprefix --extra-index-url ,$(TORCH_INDEX_URL)) torch
	touch $@

.venv/dev: .venv/torch pyproject.toml
	$(PIP) --editable '.[dev]'
	touch $@

.venv/demo: .venv/torch pyproject.toml
	$(PIP) --editable '.[demo]'
	touch $@

demo: .venv/demo ## index the Python standard library and ask it questions
	$(BIN)/python examples/demo.py $${MODEL:+--model "$$MODEL"} $${QUERY:+-- "$$QUERY"}

test: .venv/dev ## run the tests
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

lint: .venv/dev ## run the linter, check the format, types and generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python .ci/generate_sync.py --check
	$(BIN)/python -m tests.unit.public_api --check

generate: .venv/dev ## generate the blocking classes and the list of the public API
	$(BIN)/python .ci/generate_sync.py
	$(BIN)/python -m tests.unit.public_api

docs: .venv/dev ## build the documentation into site/; a dead link fails
	$(BIN)/python -m zensical build --strict --clean

constraints: .venv/dev .venv/demo ## freeze the installed versions to .ci/constraints.txt
	.ci/freeze $(BIN)/python
	touch .venv/torch .venv/dev .venv/demo

clean: ## remove everything that the other targets made
	rm -rf .venv demo-store build dist site .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
