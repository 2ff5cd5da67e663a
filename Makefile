# Two commands on a fresh machine with python 3.11 and pip: `make demo` and `make test`. Each sets up what it needs.
PYTHON ?= python3
VENV ?= .venv
READY := $(VENV)/ready
PEERS ?= benchmarks/.peers

.PHONY: demo test lint docs bench clean

demo: $(READY)
	$(VENV)/bin/nhwc demo

test: $(READY) lint
	$(VENV)/bin/pytest --numprocesses auto --dist loadfile

lint: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

# the pages that are made from the code: recipe, its JSON Schema, manifest, codes, index
docs: $(READY)
	$(VENV)/bin/python -m nhwc.flows.reference docs

# nhwc's speed beside its peers: one table, and docs/bench.png; BENCH=--quick tries it in minutes
bench: $(READY) $(PEERS)/ready
	$(VENV)/bin/python benchmarks/run.py --peers $(PEERS)/bin/python $(BENCH)

# the peers' own environment; one that cannot be installed is left out by name
$(PEERS)/ready: benchmarks/requirements.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/pip install --quiet --disable-pip-version-check --requirement $< || \
	  sed 's/ *#.*//; /^$$/d' $< | xargs -n 1 sh -c '$(PEERS)/bin/pip install --quiet --disable-pip-version-check "$$0" || true'
	touch $@

# constraints.txt is the set of versions that was tried together
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --upgrade "pip>=24"
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --editable ".[test]" --constraint constraints.txt
	touch $(READY)

clean:
	rm -rf $(VENV) demo .mypy_cache .ruff_cache .pytest_cache .hypothesis
