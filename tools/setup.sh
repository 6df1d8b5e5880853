#!/bin/sh
# Makes .venv ready for one of two purposes, and says what it does:
#
#   tools/setup.sh runtime    what `imagemill` needs to run
#   tools/setup.sh dev        that, and what the tests and checks need
#
# Everything comes as ready-made wheels from the hash-checked lists in requirements/, so no compiler is needed. Only
# where Python can't make virtual environments is a system package installed (Debian and Ubuntu: python3-venv), by sudo
# when not root. Set PYTHON to choose an interpreter. Safe to repeat, and safe to interrupt.
set -eu
cd "$(dirname "$0")/.."
purpose=${1:?runtime or dev}
venv=.venv
log=$venv/setup.log

say() { printf 'setup: %s\n' "$*"; }
fail() {
    printf 'setup: %s\n' "$@" >&2
    exit 1
}

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if new_enough "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# What apt-get says is shown only if it fails.
apt() {
    said=$(as_root env DEBIAN_FRONTEND=noninteractive apt-get "$@" 2>&1) && return
    printf '%s\n' "$said" >&2
    return 1
}

install_packages() {
    command -v apt-get >/dev/null || fail "this system lacks $* and has no apt-get." \
        "Install Python 3.11 or newer with venv and pip by its own means, then run make again."
    [ "$(id -u)" = 0 ] || command -v sudo >/dev/null || fail "this system lacks $*, and there is no sudo." \
        "Ask its administrator for: apt-get install $*"
    say "installing system packages: $*"
    apt update -qq || fail "apt-get can't refresh its package lists; is there a network connection? Then run make again."
    apt install -y -qq --no-install-recommends "$@" || fail "apt-get could not install: $*. Its message is above."
}

can_make_venv() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

need_python() {
    python=$(find_python)
    if [ -z "$python" ] && [ -z "${PYTHON:-}" ] && ! command -v python3 >/dev/null; then
        install_packages python3 python3-venv
        python=$(find_python)
    fi
    [ -n "$python" ] || fail "no Python 3.11 or newer found (looked at: ${PYTHON:-python3, python3.11 to python3.14})." \
        "Install one, or name it: make PYTHON=/path/to/python3.12 ..."
    can_make_venv "$python" && return
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    if [ "$(command -v "$python")" = "$(command -v python3)" ]; then install_packages python3-venv; else install_packages "python$version-venv"; fi
    can_make_venv "$python" || fail "$python still can't make virtual environments: its ensurepip module is missing."
}

healthy() { new_enough $venv/bin/python && $venv/bin/python -c 'import pip' 2>/dev/null; }

make_venv() {
    healthy && return
    need_python
    say "making $venv with $("$python" --version)"
    "$python" -m venv --clear $venv
}

pip() {
    $venv/bin/python -m pip --disable-pip-version-check --no-input "$@" >>$log 2>&1 && return
    tail -n 12 $log >&2
    fail "pip could not install what $purpose needs; the whole story is in $log." \
        "Is there a network connection, and do pip's proxy and index settings fit it? Then run make again."
}

install() {
    say "installing $purpose dependencies"
    : >$log
    case $purpose in
        runtime) pip install --require-hashes --only-binary :all: -r requirements/runtime.txt -r requirements/build.txt ;;
        dev) pip install --require-hashes --only-binary :all: -r requirements/dev.txt ;;
        *) fail "'$purpose' is neither runtime nor dev." ;;
    esac
    pip install --no-deps --no-build-isolation --no-index --editable .
    # As pip does with what it copies: where Python is told to write no bytecode, each start would compile it anew.
    for package in */__init__.py; do $venv/bin/python -m compileall -q "${package%/*}" >>$log; done
}

make_venv
install
# The dev list holds the runtime list whole.
[ "$purpose" = runtime ] || touch $venv/.ready-runtime
touch "$venv/.ready-$purpose"
say "ready"
