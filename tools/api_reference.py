"""Writes the part of docs/reference/api.md that lists the API element by element, from the comments in protos/.

python tools/api_reference.py            writes it anew
python tools/api_reference.py --check    only tells whether it is fresh
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)
from grpc_tools import protoc  # type: ignore[import-untyped]  # ships without types

ROOT = Path(__file__).parents[1]
PROTOS = ROOT / "protos"
REFERENCE = ROOT / "docs" / "reference" / "api.md"
BEGIN, END = "<!-- from protos/: begin; make protos writes it -->", "<!-- from protos/: end -->"

INTERNAL = {"storage_service.proto", "messages.proto"}
"""What only the mill's own services say to each other."""
PACKAGE = ".imagemill.v1."

# Numbers of fields in descriptor.proto, of which the paths to comments are made.
MESSAGES, ENUMS, SERVICES = 4, 5, 6
FIELDS, NESTED, NESTED_ENUMS = 2, 3, 4
METHODS, VALUES = 2, 2

Route = tuple[int, ...]
Comments = dict[Route, str]


def described() -> list[FileDescriptorProto]:
    """Return the public files with their comments, those with services first."""
    names = sorted(path for path in (PROTOS / "imagemill" / "v1").glob("*.proto") if path.name not in INTERNAL)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "set.binpb"
        arguments = ["", f"-I{PROTOS}", f"-I{Path(protoc.__file__).parent / '_proto'}", "--include_source_info"]
        if protoc.main([*arguments, f"--descriptor_set_out={out}", *map(str, names)]) != 0:
            sys.exit("protoc can't read protos/; its complaint stands above.")
        files = FileDescriptorSet.FromString(out.read_bytes()).file
    return sorted(files, key=lambda file: (not file.service, file.name))


def section(files: list[FileDescriptorProto]) -> str:
    """Return the whole generated part."""
    lines = [BEGIN, ""]
    for file in files:
        comments = {tuple(each.path): _one_line(each.leading_comments) for each in file.source_code_info.location}
        for place, service in enumerate(file.service):
            lines += _service(service, comments, (SERVICES, place))
    for file in files:
        comments = {tuple(each.path): _one_line(each.leading_comments) for each in file.source_code_info.location}
        for place, message in enumerate(file.message_type):
            lines += _message(message, message.name, comments, (MESSAGES, place))
        for place, enum in enumerate(file.enum_type):
            lines += _enum(enum, enum.name, comments, (ENUMS, place))
    return "\n".join([*lines, END])


def _service(service: ServiceDescriptorProto, comments: Comments, at: Route) -> Iterator[str]:
    yield from (f"### {service.name}", "", comments[at], "", "| call | takes | gives | |", "|---|---|---|---|")
    for place, method in enumerate(service.method):
        takes = _stream(method.client_streaming) + _link(method.input_type)
        gives = _stream(method.server_streaming) + _link(method.output_type)
        yield f"| `{method.name}` | {takes} | {gives} | {comments[(*at, METHODS, place)]} |"
    yield ""


def _message(message: DescriptorProto, name: str, comments: Comments, at: Route) -> Iterator[str]:
    yield from (f"### {name}", "", comments[at], "")
    maps = {nested.name: nested for nested in message.nested_type if nested.options.map_entry}
    if message.field:
        yield from ("| field | type | |", "|---|---|---|")
    for place, field in enumerate(message.field):
        yield f"| `{field.name}` | {_type(field, maps)} | {comments[(*at, FIELDS, place)]} |"
    if message.field:
        yield ""
    for place, enum in enumerate(message.enum_type):
        yield from _enum(enum, f"{name}.{enum.name}", comments, (*at, NESTED_ENUMS, place))
    for place, nested in enumerate(message.nested_type):
        if nested.name not in maps:
            yield from _message(nested, f"{name}.{nested.name}", comments, (*at, NESTED, place))


def _enum(enum: EnumDescriptorProto, name: str, comments: Comments, at: Route) -> Iterator[str]:
    yield from (f"### {name}", "", comments[at], "", "| value | |", "|---|---|")
    for place, value in enumerate(enum.value):
        yield f"| `{value.name}` | {comments[(*at, VALUES, place)]} |"
    yield ""


def _type(field: FieldDescriptorProto, maps: dict[str, DescriptorProto]) -> str:
    entry = maps.get(field.type_name.rpartition(".")[2])
    if entry is not None:
        key, value = (_type(part, {}) for part in entry.field)
        return f"map of {key} to {value}"
    name = _link(field.type_name) if field.type_name else field.Type.Name(field.type).removeprefix("TYPE_").lower()
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return f"repeated {name}"
    if field.proto3_optional:
        return f"optional {name}"
    return f"{name}, one of several" if field.HasField("oneof_index") else name


def _stream(streaming: bool) -> str:
    return "stream of " if streaming else ""


def _link(type_name: str) -> str:
    if not type_name.startswith(PACKAGE):
        return f"`{type_name.removeprefix('.')}`"
    name = type_name.removeprefix(PACKAGE)
    return f"[`{name}`](#{name.replace('.', '').lower()})"


def _one_line(comment: str) -> str:
    return re.sub(r"\s+", " ", comment).strip().replace("|", "\\|")


def main(check: bool) -> None:
    """Write the reference, or compare it."""
    present = REFERENCE.read_text(encoding="utf-8")
    before, _, rest = present.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        sys.exit(f"docs/reference/api.md lacks the marks between which it is written: {BEGIN} and {END}")
    fresh = before + section(described()) + after
    if not check:
        REFERENCE.write_text(fresh, encoding="utf-8")
    elif fresh != present:
        sys.exit("docs/reference/api.md is not what protos/ says; run: make protos")


if __name__ == "__main__":
    main("--check" in sys.argv[1:])
