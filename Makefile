# Two commands on a fresh machine with python 3.11 and pip: `make demo` and `make test`. Each sets up what it needs.
PYTHON ?= python3
VENV ?= .venv
READY := $(VENV)/ready

.PHONY: demo test lint clean

demo: $(READY)
	$(VENV)/bin/nhwc demo

test: $(READY) lint
	$(VENV)/bin/pytest

lint: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

# constraints.txt is the set of versions that was tried together
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --upgrade "pip>=24"
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --editable ".[test]" --constraint constraints.txt
	touch $(READY)

clean:
	rm -rf $(VENV) demo .mypy_cache .ruff_cache .pytest_cache .hypothesis
