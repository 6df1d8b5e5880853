#!/bin/sh
# Writes imagemill/v1, imagemill/keda and the list of elements in docs/reference/api.md from protos/imagemill:
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
    protos/imagemill/*/*.proto
for package in v1 keda; do : >"$fresh/imagemill/$package/__init__.py"; done

if [ "${1:-}" = --check ]; then
    for package in v1 keda; do
        diff -rq --exclude=__pycache__ "$fresh/imagemill/$package" "imagemill/$package" || {
            echo "imagemill/$package is not what protos/ says; run: make protos" >&2
            exit 1
        }
    done
    exec .venv/bin/python tools/api_reference.py --check
fi
for package in v1 keda; do
    mkdir -p "imagemill/$package"
    find "imagemill/$package" -maxdepth 1 -type f -name '*_pb2*' -delete
    cp "$fresh/imagemill/$package"/* "imagemill/$package/"
done
.venv/bin/python tools/api_reference.py
