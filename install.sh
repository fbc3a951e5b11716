#!/bin/sh
# Install the project into .venv for its users; `install.sh dev` adds what tests and checks need.
set -eu
cd "$(dirname "$0")"
extras=${1:+$1,}azurite
python=${PYTHON:-python3}
log=.venv/install.log

fail() {
    echo "Error: $1" >&2
    exit 1
}

check_python() {
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) ||
        fail "$python does not run; install Python 3.11 or newer, or set PYTHON to where it is"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "$python is Python $version; set PYTHON to 3.11 or newer: PYTHON=python3.12 make run"
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$python has no venv module; install it (Debian, Ubuntu: apt install python3-venv)"
}

# Run an installer; its output goes to the log.
quietly() {
    "$@" >"$log" 2>&1 || fail "the packages cannot be installed, see $PWD/$log;\
 if their index cannot be reached, set HTTPS_PROXY or correct it"
}

mkdir -p .venv 2>/dev/null && touch "$log" 2>/dev/null ||
    fail "$PWD cannot be written to; copy the project to a folder of your own"
if ! .venv/bin/python -m uv --version >/dev/null 2>&1; then
    check_python
    "$python" -m venv --clear .venv
    sed -n '/^uv==/,/[^\\]$/p' constraints.txt >.venv/uv.txt
    quietly .venv/bin/python -m pip install --quiet --disable-pip-version-check \
        --require-hashes --requirement .venv/uv.txt
    # Python brings years-old versions of both, and nothing needs setuptools any more.
    quietly .venv/bin/uv pip uninstall --quiet --python .venv/bin/python setuptools
    quietly .venv/bin/uv pip install --quiet --system-certs --python .venv/bin/python \
        --constraint constraints.txt --upgrade pip
fi
quietly .venv/bin/uv pip install --quiet --compile-bytecode --system-certs \
    --python .venv/bin/python --constraint constraints.txt --build-constraint constraints.txt \
    --editable ".[$extras]"
