#!/bin/sh
# Writes the hash-checked lists in requirements/ from pyproject.toml, newest releases first. They hold for every platform
# and Python from 3.11, and name no index: whichever one a machine is set up for serves them.
set -eu
cd "$(dirname "$0")/.."

compile() { # compile FILE ARGS...
    out=requirements/$1
    shift
    .venv/bin/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header \
        --python-version 3.11 "$@" -o "$out"
}

if [ "${1:-}" = --upgrade ]; then rm -f requirements/runtime.txt requirements/build.txt requirements/dev.txt; fi
# Dev first: the other two are parts of it, and are held to the same releases.
compile dev.txt pyproject.toml --group dev
compile runtime.txt pyproject.toml -c requirements/dev.txt
compile build.txt --group build -c requirements/dev.txt
