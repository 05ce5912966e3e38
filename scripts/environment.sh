#!/bin/sh
# Makes .venv with a Python of at least 3.11 and installs the project into it, for development.
# PYTHON names another interpreter. As root on Debian and Ubuntu a missing venv module is installed.
set -eu
cd "$(dirname "$0")/.."

suits() {
    "$1" -c 'import sys; raise SystemExit(sys.version_info < (3, 11))' 2>/dev/null
}

can_make_environments() {
    "$1" -c 'import ensurepip, venv' 2>/dev/null
}

find_python() {
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if suits "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    echo "tendhost needs Python 3.11 or newer; none is on PATH (name one with PYTHON=...)" >&2
    exit 1
}

# An environment whose interpreter has gone, or whose folder was moved, is made anew.
if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    python=$(find_python)
    if ! can_make_environments "$python"; then
        if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
            echo "$python lacks the venv module (on Debian and Ubuntu: apt-get install python3-venv)" >&2
            exit 1
        fi
        echo "Installing the Debian package python3-venv"
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends python3-venv
    fi
    echo "Making .venv with $("$python" --version)"
    "$python" -m venv --clear .venv
fi
echo "Installing tendhost and its development tools into .venv"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[server,dev]'
