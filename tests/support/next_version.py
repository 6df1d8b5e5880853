"""The version after this one: a copy of the source, one step further in everything that two versions share.

Its tables have an additive step more, its messages and its API a field more, and the messages their next minor version.
Whoever reads one of its messages logs which version told it, and its storage service marks the rows that it moves.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import imagemill
from imagemill.adapters.rabbitmq.headers import SCHEMA
from imagemill.adapters.sql.revisions import COMPATIBLE_FROM, REVISION

SOURCE = Path(imagemill.__file__).parents[1]
ROOMS = ("imagemill", "gateway", "downloader_svc", "processor_svc", "storage_svc", "protos")

VERSION = "99.0.0"
NEXT_REVISION = f"{int(REVISION) + 1:04d}"
NEXT_SCHEMA = f"{SCHEMA.partition('.')[0]}.{int(SCHEMA.partition('.')[2]) + 1}"
ADDED = "string told_by = 900;"
WORD = "next"
"""What its messages, and the rows that it moves, say of it."""

_STEP = f'''
import sqlalchemy as sa
from alembic import op

revision = "{NEXT_REVISION}"
down_revision = "{REVISION}"
compatible_from = "{COMPATIBLE_FROM}"


def upgrade():
    op.add_column("items", sa.Column("moved_by", sa.Text))
    op.add_column("batches", sa.Column("movers", sa.BigInteger, nullable=False, server_default="0"))
    op.create_table("movers", sa.Column("name", sa.Text, primary_key=True))
    op.create_index("items_by_mover", "items", ["batch_id", "moved_by"])
'''
_TELL = """
import logging


def note(reader, word):
    logging.getLogger("imagemill.next").info("%s was told by %s.", reader, word or "the version before")
"""
_EDITS: dict[str, list[tuple[str, str]]] = {
    "imagemill/__init__.py": [(f'"{imagemill.__version__}"', f'"{VERSION}"')],
    "imagemill/adapters/sql/revisions.py": [(f'\nREVISION = "{REVISION}"\n', f'\nREVISION = "{NEXT_REVISION}"\n')],
    "imagemill/adapters/sql/schema.py": [
        ('    Column("cpu_ms", Double),\n', '    Column("cpu_ms", Double),\n    Column("moved_by", Text),\n')
    ],
    "imagemill/adapters/sql/postgres_unit.py": [
        (
            "        finished_at = new.finished_at, heard_at =",
            f"        moved_by = '{WORD}', finished_at = new.finished_at, heard_at =",
        )
    ],
    "imagemill/adapters/rabbitmq/headers.py": [(f'\nSCHEMA = "{SCHEMA}"\n', f'\nSCHEMA = "{NEXT_SCHEMA}"\n')],
    "protos/imagemill/v1/messages.proto": [
        ("message DownloadJobs {\n", f"message DownloadJobs {{\n  {ADDED}\n"),
        ("message ProcessJobs {\n", f"message ProcessJobs {{\n  {ADDED}\n"),
        ("message ItemEvents {\n", f"message ItemEvents {{\n  {ADDED}\n"),
        ("message ItemEvent {\n", f"message ItemEvent {{\n  {ADDED}\n"),
    ],
    "protos/imagemill/v1/batch.proto": [
        ("message Batch {\n", f"message Batch {{\n  {ADDED}\n"),
        ("message Item {\n", f"message Item {{\n  {ADDED}\n"),
    ],
    "imagemill/codec.py": [
        (
            "    return messages_pb2.ItemEvent(\n",
            f"    return messages_pb2.ItemEvent(\n        told_by='{WORD}',\n",
        ),
        (
            "    numbers = _numbers(message)\n",
            '    next_version.note("the fold", message.told_by)\n    numbers = _numbers(message)\n',
        ),
        ("    return batch_pb2.Batch(\n", f"    return batch_pb2.Batch(\n        told_by='{WORD}',\n"),
        ("    return batch_pb2.Item(\n", f"    return batch_pb2.Item(\n        told_by='{WORD}',\n"),
        ("\nfrom imagemill.v1 import", "\nfrom imagemill import next_version\nfrom imagemill.v1 import"),
    ],
    "imagemill/runtime/jobs.py": [
        (
            "    message = messages_pb2.DownloadJobs.FromString(body)\n",
            "    message = messages_pb2.DownloadJobs.FromString(body)\n"
            '    codec.next_version.note("the downloader", message.told_by)\n',
        ),
        (
            "    message = messages_pb2.ProcessJobs.FromString(body)\n",
            "    message = messages_pb2.ProcessJobs.FromString(body)\n"
            '    codec.next_version.note("the processor", message.told_by)\n',
        ),
        (
            "    return messages_pb2.ProcessJobs(\n",
            f"    return messages_pb2.ProcessJobs(\n        told_by='{WORD}',\n",
        ),
    ],
    "gateway/dispatcher.py": [
        (
            "    message = messages_pb2.DownloadJobs(\n",
            f"    message = messages_pb2.DownloadJobs(\n        told_by='{WORD}',\n",
        ),
    ],
}  # fmt: skip


def make_next_version(folder: Path) -> Path:
    """Make the next version in a folder that is not there yet; it runs with the folder in PYTHONPATH.

    Raises:
        AssertionError: what is to be edited is not where it was; this module must follow.
    """
    for room in ROOMS:
        shutil.copytree(SOURCE / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    for place, edits in _EDITS.items():
        _edit(folder / place, edits)
    (folder / "imagemill/next_version.py").write_text(_TELL)
    step = folder / f"imagemill/adapters/sql/migrations/versions/revision_{NEXT_REVISION}.py"
    assert not step.exists()
    step.write_text(_STEP)
    _generate(folder)
    return folder


def _edit(path: Path, edits: list[tuple[str, str]]) -> None:
    text = path.read_text()
    for old, new in edits:
        assert text.count(old) == 1, f"{path.name} has {text.count(old)} times: {old!r}"
        text = text.replace(old, new)
    path.write_text(text)


def _generate(folder: Path) -> None:
    protos = sorted(
        str(path.relative_to(folder / "protos")) for path in (folder / "protos/imagemill/v1").glob("*.proto")
    )
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I", "protos", "--python_out=.", *protos]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
