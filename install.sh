#!/bin/sh
# Install the project into .venv for its users; `install.sh dev` adds what tests and checks need.
set -eu
cd "$(dirname "$0")"
extras=${1:+$1,}azurite

if ! .venv/bin/python -m uv --version >/dev/null 2>&1; then
    "${PYTHON:-python3}" -m venv --clear .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check uv
fi
.venv/bin/uv pip install --quiet --compile-bytecode --system-certs --python .venv/bin/python \
    --constraint constraints.txt --editable ".[$extras]"
