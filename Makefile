# `make run` serves the page, `make test` checks everything; both set up what they need.
VENV   := .venv
PYTHON ?= python3
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet
DEV    := pytest hypothesis ruff mypy playwright axe-playwright-python "ray[serve]>=2.60,<3" "gradio[mcp]" spaces "setuptools>=77" wheel

.PHONY: run test lint bench clean

run: $(VENV)/.run
	$(BIN)/python app.py

test: lint
	$(BIN)/python tests/browser/install_chromium.py
	$(BIN)/python -m pytest

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.test
	$(BIN)/python tests/browser/install_chromium.py
	for name in gram compare spectra hover measure train forwards finetune serve lecture start; do $(BIN)/python -m tests.benchmarks.bench_$$name || exit 1; done

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "gramviz needs Python 3.11 or newer; name one: make PYTHON=python3.12 run" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "On Debian and Ubuntu: sudo apt-get install python3-venv, then again." >&2; exit 1; }

$(VENV)/.run: requirements.txt | $(BIN)/python
	@echo "Installing torch, timm, gradio and the rest into $(VENV) (several GB, once) ..."
	$(PIP) install -r requirements.txt
	@touch $@

$(VENV)/.test: $(VENV)/.run Makefile
	$(PIP) install $(DEV)
	@touch $@
