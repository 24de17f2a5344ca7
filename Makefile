# Two commands do all set-up: `make demo` and `make test`. Both make the environment (.venv) first.
# The Android demo needs a JDK (17 or newer) and Maven instead: `make test-android` and `make apk`.
# The web demo needs Node.js (20.15 or newer) and npm, its tests Chromium: `make web-demo` and `make test-web`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: env demo docs test test-python test-android apk web-demo test-web lint clean

env: $(VENV)/.installed

$(VENV)/.installed: setup.py pyproject.toml
	@echo "making the environment in $(VENV) (TensorFlow and friends, about 2.5 GB on disk; a few minutes)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check --quiet --progress-bar off -e .[dev]
	@touch $@

demo: env
	rm -rf demo_output
	$(BIN)/ehrnet demo --out demo_output

# Material's note about MkDocs 2 would be a line of every build.
docs: env
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "site/index.html"

# The Android demo's tests are part of this where there is a JDK, the web demo's where there are Node.js and Chromium.
# pytest comes last: its summary is the last line.
test: lint
	@if command -v javac >/dev/null; then android_demo/checks/build.sh test; \
	else echo "no JDK: the Android demo's tests are left out (make test-android)"; fi
	@if command -v npm >/dev/null && command -v chromium >/dev/null; then web_demo/tools/web.sh test; \
	else echo "no Node.js or no Chromium: the web demo's tests are left out (make test-web)"; fi
	@$(MAKE) --no-print-directory test-python

test-python: env
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-android:
	android_demo/checks/build.sh test

apk:
	android_demo/checks/build.sh apk

web-demo:
	web_demo/tools/web.sh build

test-web:
	web_demo/tools/web.sh test

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:
	rm -rf demo_output site .cache $(VENV) build dist *.egg-info android_demo/target android_demo/*/target android_demo/checks/*/target
