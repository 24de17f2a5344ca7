# Two commands do all set-up: `make demo` and `make test`. Both make the environment (.venv) first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: env demo test lint clean

env: $(VENV)/.installed

$(VENV)/.installed: setup.py pyproject.toml
	@echo "making the environment in $(VENV) (TensorFlow and friends, about 2.5 GB on disk; a few minutes)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check --quiet --progress-bar off -e .[dev]
	@touch $@

demo: env
	rm -rf demo_output
	$(BIN)/ehrnet demo --out demo_output

test: env lint
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:
	rm -rf demo_output $(VENV) build dist *.egg-info
