"""The project's own files, as the guards read them; what set-up, tests and users leave behind is not among them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]

PRODUCT = ("imagemill", "gateway", "downloader_svc", "processor_svc", "storage_svc")
ROOMS = (*PRODUCT, "protos", "tests", "benchmarks", "tools", "requirements", "docs", "examples", "deploy", ".ci")
GENERATED = (ROOT / "imagemill" / "v1", ROOT / "imagemill" / "keda")


def python_files() -> list[Path]:
    """Return every Python file that a person wrote."""
    return [path for path in files() if path.suffix == ".py" and not set(GENERATED) & set(path.parents)]


def files() -> list[Path]:
    """Return every file of the project, generated code included."""
    return sorted(_files())


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _files() -> Iterator[Path]:
    yield from (path for path in ROOT.iterdir() if path.is_file() and path.name != ".git")
    for room in ROOMS:
        for path in (ROOT / room).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path
