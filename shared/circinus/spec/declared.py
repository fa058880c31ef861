"""Files that declare what is to be: pipelines, queries and labels of devices. The format is in docs/apply.md.

Each document of a file is a list of queries, as in queries.yaml; or a mapping of any of ``pipelines`` (folders),
``queries`` and ``devices``. A pipeline.yaml stands for its folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from circinus.errors import InvalidInput
from circinus.model.device import DeviceId
from circinus.model.label import key_fault, label_fault
from circinus.model.pipeline import Pipeline, PipelineId
from circinus.model.query import Query, QueryId
from circinus.spec.document import Document, kind_of, nodes_of
from circinus.spec.errors import SpecError, SpecErrors
from circinus.spec.folder import PIPELINE_FILE, load_pipeline, read_text
from circinus.spec.pipeline import DEVICE_PATTERN, DEVICE_RULE
from circinus.spec.queries import located_queries

QUERIES_FILE = "queries.yaml"
MAX_FILES = 1_000
MAX_CHARACTERS = 8 * 1024 * 1024
MAX_QUERIES = 10_000
MAX_DEVICES = 10_000
MAX_PIPELINES = 1_000
_KINDS = ("pipelines", "queries", "devices")
_NULL = "tag:yaml.org,2002:null"
_SUFFIXES = (".yaml", ".yml")

Labels = Mapping[str, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What files declare, by id. A label of None: the device is to have none with this key."""

    pipelines: Mapping[PipelineId, tuple[Path, Pipeline]] = field(default_factory=dict)
    queries: Mapping[QueryId, Query] = field(default_factory=dict)
    labels: Mapping[DeviceId, Labels] = field(default_factory=dict)


class _Documents(Document):
    """All documents of one text."""

    def _node(self, text: str) -> yaml.Node | None:
        self.roots = nodes_of(text)
        return self.roots[0] if self.roots else None


class _Reader:
    """Reads files one after the other; all that is wrong with any of them is kept."""

    def __init__(self) -> None:
        self.errors: list[SpecError] = []
        self.pipelines: dict[PipelineId, tuple[Path, Pipeline]] = {}
        self.queries: dict[QueryId, Query] = {}
        self.labels: dict[DeviceId, Labels] = {}
        self._where: dict[tuple[str, str], str] = {}

    def read(self, text: str, filename: str, folder: Path) -> None:
        """One file; ``folder`` is where folders that it names are looked for."""
        document = _Documents(text, filename, max_characters=MAX_CHARACTERS)
        for root in getattr(document, "roots", ()):
            self._document(document, root, folder)
        self._finish(document)

    def folder(self, folder: Path) -> None:
        """A pipeline's folder."""
        try:
            pipeline = load_pipeline(folder)
        except SpecErrors as error:
            self.errors.extend(error.errors)
            return
        path = folder / PIPELINE_FILE
        if self._is_first("pipeline", pipeline.id, str(path), None, 1):
            self.pipelines[pipeline.id] = (folder, pipeline)

    def _document(self, document: Document, root: yaml.Node, folder: Path) -> None:
        if isinstance(root, yaml.SequenceNode):
            self._queries(document, root)
            return
        keys = {str(key.value) for key, _ in root.value} if isinstance(root, yaml.MappingNode) else set()
        if {"pipeline", "operators"} <= keys:
            document.error(root, "a pipeline is a folder with its code: name the folder under pipelines")
            return
        if not keys.intersection(_KINDS):
            document.error(
                root, f"declares nothing: it must be a list of queries, or have {', '.join(_KINDS)}; is {kind_of(root)}"
            )
            return
        entries = document.mapping(root, "document", optional=_KINDS)
        for name, entry in entries.items():
            if name == "queries":
                self._queries(document, entry.value)
            elif name == "devices":
                self._devices(document, entry.value)
            else:
                for text, node in document.located_texts(entry.value, "pipelines", at_most=MAX_PIPELINES):
                    self._named(document, folder / text, node)

    def _named(self, document: Document, folder: Path, node: yaml.Node) -> None:
        if not (folder / PIPELINE_FILE).is_file():
            document.error(node, f"pipelines: {folder} has no {PIPELINE_FILE}")
            return
        self.folder(folder)

    def _queries(self, document: Document, root: yaml.Node) -> None:
        for query, line in located_queries(document, root, "queries", at_most=MAX_QUERIES):
            if not query.id:
                document.error(line, "a query that is declared needs an id: by it, it is known the next time")
            elif self._is_first("query", query.id, document.filename, document, line):
                self.queries[query.id] = query

    def _devices(self, document: Document, root: yaml.Node) -> None:
        for node in document.sequence(root, "devices", at_most=MAX_DEVICES):
            what = document.named(node, "device")
            entries = document.mapping(node, what, required=("id", "labels"))
            if not {"id", "labels"} <= entries.keys():
                continue
            name = document.text(entries["id"].value, f"{what}: id", pattern=DEVICE_PATTERN, rule=DEVICE_RULE)
            labels = self._labels(document, entries["labels"].value, what)
            line = node.start_mark.line + 1
            if name and self._is_first("device", name, document.filename, document, line):
                self.labels[DeviceId(name)] = labels

    @staticmethod
    def _labels(document: Document, root: yaml.Node, what: str) -> Labels:
        labels: dict[str, str | None] = {}
        for key, entry in document.mapping(root, f"{what}: labels", optional=None).items():
            is_none = isinstance(entry.value, yaml.ScalarNode) and entry.value.tag == _NULL
            value = None if is_none else document.text(entry.value, f"{what}: label {key}", empty=True)
            fault = key_fault(key) if value is None else label_fault(key, value)
            if fault:
                document.error(entry.key, f"{what}: label {fault}")
            labels[key] = value
        return labels

    def _is_first(self, noun: str, name: str, filename: str, document: Document | None, line: int) -> bool:
        where = f"{filename}:{line}"
        first = self._where.setdefault((noun, name), where)
        if first == where:
            return True
        message = f"{noun} {name!r} is declared twice (first at {first})"
        if document is not None:
            document.error(line, message)
        else:
            self.errors.append(SpecError(file=filename, line=line, message=message))
        return False

    def _finish(self, document: Document) -> None:
        try:
            document.finish()
        except SpecErrors as error:
            self.errors.extend(error.errors)


def read_declared(paths: Iterable[Path], stdin: str = "") -> Declared:
    """What files and folders declare, all together; "-" is ``stdin``.

    Of a folder: its YAML files, and the pipelines in folders below it; a pipeline's own folder: the pipeline and its
    queries.yaml.

    Raises:
        SpecErrors: all that is wrong with them, each with its file and line.
        InvalidInput: a file can't be read, or there is none.
    """
    reader = _Reader()
    for path in paths:
        if str(path) == "-":
            reader.read(stdin, "stdin", Path())
        elif path.is_dir():
            _read_folder(reader, path)
        elif path.name == PIPELINE_FILE:
            reader.folder(path.parent)
        else:
            reader.read(read_text(path), str(path), path.parent)
    if reader.errors:
        raise SpecErrors(set(reader.errors))
    return Declared(pipelines=reader.pipelines, queries=reader.queries, labels=reader.labels)


def _read_folder(reader: _Reader, folder: Path) -> None:
    if (folder / PIPELINE_FILE).is_file():
        reader.folder(folder)
        files = [folder / QUERIES_FILE] if (folder / QUERIES_FILE).is_file() else []
        pipelines: list[Path] = []
    else:
        files = sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES and path.is_file())
        pipelines = sorted(path for path in folder.iterdir() if (path / PIPELINE_FILE).is_file())
    if not files and not pipelines and not (folder / PIPELINE_FILE).is_file():
        raise InvalidInput(f"{folder} has no YAML file, and no folder with a {PIPELINE_FILE}")
    if len(files) + len(pipelines) > MAX_FILES:
        raise InvalidInput(f"{folder} has more than {MAX_FILES} files")
    for one in pipelines:
        reader.folder(one)
    for one in files:
        reader.read(read_text(one), str(one), folder)
