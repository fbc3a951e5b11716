# Every target installs what is missing first; nothing is needed but Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: install run dev demo test check format bench clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --compile-bytecode --system-certs --python $(BIN)/python \
	    --constraint constraints.txt --editable '.[dev]'
	touch $@

run: $(INSTALLED)  ## collect the last 7 closed days and the open one
	$(BIN)/coinbase-assets collect

dev: $(INSTALLED)  ## Dagster's web UI, with schedules and sensors at work
	$(BIN)/coinbase-assets dev

demo: $(INSTALLED)  ## the same, offline, on a stand-in exchange
	$(BIN)/python -m coinbase_assets_tests.demo

test: $(INSTALLED)
	$(BIN)/pytest

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	AZURE_STORAGE_CONNECTION_STRING=UseDevelopmentStorage=true DAGSTER_HOME=$(CURDIR)/.dagster \
	    $(BIN)/dagster definitions validate

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(INSTALLED)
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv build *.egg-info
