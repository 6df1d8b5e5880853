"""The messages of a version to come: those of `protos/`, each with a field more, each enumeration with a value more."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

ROOT = Path(__file__).parents[2]
PACKAGE = "imagemill.v1"
ADDED_FIELD: Final = "of_the_future"
ADDED_FIELD_NUMBER = 900
ADDED_VALUE: Final = 99
SAID = "not yet known"


def newer(message: str) -> type[Any]:
    """The class of a message as the version to come has it, by its name in `imagemill.v1`."""
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"{PACKAGE}.{message}"))


def told_by_newer(message: Message, *, new_values: Callable[[FieldDescriptor], bool] = lambda _: False) -> bytes:
    """A message as the version to come would send it: with what it has added, wherever there is room for it.

    Fields of enumerations that are chosen by `new_values` have the value that was added.
    """
    told = newer(message.DESCRIPTOR.full_name.removeprefix(f"{PACKAGE}.")).FromString(message.SerializeToString())
    _add(told, new_values)
    return bytes(told.SerializeToString())


def _add(message: Message, new_values: Callable[[FieldDescriptor], bool]) -> None:
    for field, value in message.ListFields():
        if field.enum_type is not None and not field.is_repeated and new_values(field):
            setattr(message, field.name, ADDED_VALUE)
        if field.message_type is None or field.message_type.file.package != PACKAGE:
            continue
        if field.message_type.GetOptions().map_entry:
            continue
        for each in value if field.is_repeated else [value]:
            _add(each, new_values)
    setattr(message, ADDED_FIELD, SAID)


@cache
def _pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    for file in _files().file:
        if file.package == PACKAGE:
            _widen(file.message_type)
            _lengthen(file.enum_type)
        pool.Add(file)
    return pool


def _files() -> descriptor_pb2.FileDescriptorSet:
    protos = [path.relative_to(ROOT / "protos") for path in sorted((ROOT / "protos/imagemill/v1").glob("*.proto"))]
    with TemporaryDirectory() as folder:
        out = Path(folder) / "protos.binpb"
        command = [sys.executable, "-m", "grpc_tools.protoc", "-I", "protos", "--include_imports"]
        subprocess.run([*command, f"--descriptor_set_out={out}", *map(str, protos)], cwd=ROOT, check=True, timeout=60)
        return descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())


def _widen(messages: Any) -> None:
    for message in messages:
        _lengthen(message.enum_type)
        _widen(message.nested_type)
        if not message.options.map_entry:
            message.field.add(
                name=ADDED_FIELD,
                json_name="ofTheFuture",
                number=ADDED_FIELD_NUMBER,
                type=descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
                label=descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL,
            )


def _lengthen(enumerations: Any) -> None:
    for enumeration in enumerations:
        prefix = enumeration.value[0].name.removesuffix("UNSPECIFIED")
        enumeration.value.add(name=f"{prefix}OF_THE_FUTURE", number=ADDED_VALUE)
