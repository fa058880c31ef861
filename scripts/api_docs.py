"""Writes docs/api.md, the reference of the gRPC services, from the comments of the protos.

Usage: .venv/bin/python scripts/api_docs.py [--check]. With --check: fails if what is there differs.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc_tools
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet
from grpc_tools import protoc
from reference_page import table, write

from cloud_planner.services.roles import METHODS

PROTOS = Path(__file__).resolve().parent.parent / "protos"
#: In the order of who reads them: people's programs, callers, boxes, what is inside a box.
ORDER = ("planner", "results", "open_inference", "identity", "control", "dataplane", "worker", "types")
_HEAD = """\
# The API

Written from the comments of `protos/` by `scripts/api_docs.py`. Everything that crosses the wire is gRPC; packages are
`circinus.v1` and, for callers of a pipeline, `inference`, the public Open Inference Protocol ([ingress](ingress.md)).
From Python there is [a client](python-client.md).

A number's unit stands at the end of its name; a ratio is 0 to 1. *optional*: not set is another thing than zero. *Least
role*: who may call a method ([security](security.md)). Errors are gRPC's status codes; the name of the error's class
comes beside it in the trailing metadata `circinus-error`, and what is wrong with single fields in
`circinus-violation-bin`.

| file | what it has |
|---|---|
"""
_MESSAGE, _ENUM, _SERVICE, _SYNTAX = 4, 5, 6, 12
_FIELD, _NESTED, _NESTED_ENUM, _ENUM_VALUE, _METHOD = 2, 3, 4, 2, 2
_TYPES = {number: name.removeprefix("TYPE_").lower() for name, number in FieldDescriptorProto.Type.items()}


class Comments:
    """What is said in a file of each of its parts, by their paths (descriptor.proto says what those are)."""

    def __init__(self, file: FileDescriptorProto) -> None:
        self._said = {tuple(place.path): place for place in file.source_code_info.location}

    def __call__(self, *path: int) -> str:
        """What is said of the part at a path, on one line."""
        place = self._said.get(path)
        if place is None:
            return ""
        return " ".join(f"{place.leading_comments} {place.trailing_comments}".split())


def files() -> dict[str, FileDescriptorProto]:
    """The protos of circinus/v1, by the stem of their names."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "set"
        includes = [f"-I{PROTOS}", f"-I{Path(grpc_tools.__file__).parent / '_proto'}"]
        names = sorted(str(path) for path in PROTOS.rglob("*.proto"))
        if protoc.main(["protoc", *includes, f"--descriptor_set_out={out}", "--include_source_info", *names]):
            sys.exit("api_docs: protos/ can't be compiled")
        found = FileDescriptorSet.FromString(out.read_bytes())
    return {Path(file.name).stem: file for file in found.file}


class Page:
    """The page while it is written."""

    def __init__(self, found: dict[str, FileDescriptorProto]) -> None:
        self._files = found
        self._known = {full for file in found.values() for full, *_ in messages(file)}

    def text(self) -> str:
        """The whole page."""
        order = [*(stem for stem in ORDER if stem in self._files), *sorted(set(self._files) - set(ORDER))]
        rows = "".join(f"| [{stem}.proto](#{stem}proto) | {Comments(self._files[stem])(_SYNTAX)} |\n" for stem in order)
        return _HEAD + rows + "".join(self._file(stem, self._files[stem]) for stem in order)

    def _file(self, stem: str, file: FileDescriptorProto) -> str:
        said = Comments(file)
        parts = [f"\n## {stem}.proto\n"]
        for number, service in enumerate(file.service):
            parts.append(f"\n### {service.name}\n{_paragraph(said(_SERVICE, number))}")
            rows = [
                (
                    f"`{method.name}`",
                    self._type(method.input_type, streams=method.client_streaming),
                    self._type(method.output_type, streams=method.server_streaming),
                    _least_role(f"{file.package}.{service.name}", method.name),
                    said(_SERVICE, number, _METHOD, at),
                )
                for at, method in enumerate(service.method)
            ]
            parts.append(table("method", "takes", "gives", "least role", "", rows=rows))
        for full, message, path in messages(file):
            if message is None:
                continue
            name = full.removeprefix(f".{file.package}.")
            parts.append(f"\n### {name}\n{_paragraph(said(*path))}")
            rows = [
                (str(field.number), f"`{field.name}`", self._field(message, field), said(*path, _FIELD, at))
                for at, field in enumerate(message.field)
            ]
            parts.append(table("", "field", "type", "", rows=rows) or "\nIt has no fields.\n")
        for number, kind in enumerate(file.enum_type):
            parts.append(f"\n### {kind.name}\n{_paragraph(said(_ENUM, number))}")
            rows = [
                (str(value.number), f"`{value.name}`", said(_ENUM, number, _ENUM_VALUE, at))
                for at, value in enumerate(kind.value)
            ]
            parts.append(table("", "value", "", rows=rows))
        return "".join(parts)

    def _field(self, message: Any, field: FieldDescriptorProto) -> str:
        entries = {f"{entry.name}": entry for entry in message.nested_type if entry.options.map_entry}
        entry = entries.get(field.type_name.rpartition(".")[2])
        if entry is not None:
            key, value = entry.field
            return f"map of {self._type_of(key)} to {self._type_of(value)}"
        shown = self._type_of(field)
        if field.label == FieldDescriptorProto.LABEL_REPEATED:
            return f"{shown}, any number"
        if field.proto3_optional:
            return f"optional {shown}"
        if field.HasField("oneof_index"):
            return f"{shown}, one of `{message.oneof_decl[field.oneof_index].name}`"
        return shown

    def _type_of(self, field: FieldDescriptorProto) -> str:
        return self._type(field.type_name) if field.type_name else _TYPES[field.type]

    def _type(self, full: str, *, streams: bool = False) -> str:
        short = full.removeprefix(".circinus.v1.").removeprefix(".inference.").removeprefix(".google.protobuf.")
        shown = f"[{short}](#{short.replace('.', '').lower()})" if full in self._known else short
        return f"stream of {shown}" if streams else shown


def messages(file: FileDescriptorProto) -> Iterator[tuple[str, Any, tuple[int, ...]]]:
    """Each message of a file with its whole name and path, those inside of others too; None: an enumeration."""
    for number, message in enumerate(file.message_type):
        yield from _within(f".{file.package}", message, (_MESSAGE, number))
    for number, kind in enumerate(file.enum_type):
        yield f".{file.package}.{kind.name}", None, (_ENUM, number)


def _within(above: str, message: Any, path: tuple[int, ...]) -> Iterator[tuple[str, Any, tuple[int, ...]]]:
    yield f"{above}.{message.name}", message, path
    for number, inner in enumerate(message.nested_type):
        if not inner.options.map_entry:
            yield from _within(f"{above}.{message.name}", inner, (*path, _NESTED, number))


def _paragraph(text: str) -> str:
    return f"\n{text}\n" if text else ""


def _least_role(service: str, method: str) -> str:
    rule = METHODS.get(f"/{service}/{method}")
    return "-" if rule is None else rule.least.name.lower()


def page() -> str:
    """The whole page."""
    return Page(files()).text()


if __name__ == "__main__":
    sys.exit(write("api.md", page()))
