#!/bin/sh
# Writes imagemill/v1 and the list of elements in docs/reference/api.md from protos/imagemill/v1:
#
#   tools/protos.sh            replaces what is committed
#   tools/protos.sh --check    only tells whether it is fresh
#
# Package, folder and import path share one word, so what protoc writes needs no repair.
set -eu
cd "$(dirname "$0")/.."
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT

PATH="$PWD/.venv/bin:$PATH" .venv/bin/python -m grpc_tools.protoc -I protos \
    --python_out="$fresh" --grpc_python_out="$fresh" --mypy_out=quiet:"$fresh" --mypy_grpc_out=quiet:"$fresh" \
    protos/imagemill/v1/*.proto
: >"$fresh/imagemill/v1/__init__.py"

if [ "${1:-}" = --check ]; then
    diff -rq --exclude=__pycache__ "$fresh/imagemill/v1" imagemill/v1 || {
        echo "imagemill/v1 is not what protos/ says; run: make protos" >&2
        exit 1
    }
    exec .venv/bin/python tools/api_reference.py --check
fi
mkdir -p imagemill/v1
find imagemill/v1 -maxdepth 1 -type f -name '*_pb2*' -delete
cp "$fresh"/imagemill/v1/* imagemill/v1/
.venv/bin/python tools/api_reference.py
