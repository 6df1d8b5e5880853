"""Virtual environments of the programs that are measured: each has what it needs, and nothing of the others."""

from __future__ import annotations

import compileall
import subprocess
import venv
from pathlib import Path

PROJECT = Path(__file__).parent.parent


class NotInstallable(Exception):
    """A program can't be had on this machine; the text says why."""


def install(folder: Path, *requirements: Path, editable: Path | None = None) -> Path:
    """Install lists of dependencies into a virtual environment of its own, once; return its folder of programs.

    `editable` is a project that is installed there too, as it stands.

    Raises:
        NotInstallable: it did not work.
    """
    installed = folder / "installed.txt"
    wanted = b"".join(each.read_bytes() for each in requirements)
    if not installed.exists() or installed.read_bytes() != wanted:
        print(f"installing {folder.name} into {folder}", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        lists = [argument for each in requirements for argument in ("-r", str(each))]
        _run([*pip, "--require-hashes", "--only-binary", ":all:", *lists])
        if editable:
            _run([*pip, "--no-deps", "--no-build-isolation", "--no-index", "--editable", str(editable)])
        installed.write_bytes(wanted)
    return folder / "bin"


def compile_project() -> None:
    """Compile what is run from this folder, as pip compiles what it installs.

    Where Python is told to write no bytecode, each start would compile the whole mill anew: 0.2 s of its first process.
    """
    for package in PROJECT.glob("*/__init__.py"):
        compileall.compile_dir(package.parent, quiet=1)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotInstallable((done.stderr.strip() or f"pip ended with {done.returncode}").splitlines()[-1])
