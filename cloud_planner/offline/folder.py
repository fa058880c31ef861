"""Reads a folder into a case. The only module here that opens files.

A case is the union of its files; what each is called is for people, apart from which names are read at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from circinus.errors import InvalidInput
from cloud_planner.offline.case import Case, Settings
from cloud_planner.offline.documents import Faults, Place, Record, read_csv, read_document
from cloud_planner.offline.fields import Fields, suggestion
from cloud_planner.offline.fleet import read_machines, read_settings, read_wires
from cloud_planner.offline.pipelines import read_pipelines
from cloud_planner.offline.queries import read_queries
from cloud_planner.offline.tables import (
    ACCURACY_COLUMNS,
    OUTPUT_COLUMNS,
    SERVICE_COLUMNS,
    Names,
    read_accuracy,
    read_outputs,
    read_service,
)
from cloud_planner.offline.uplinks import read_uplinks

MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_FILES = 1000
_STEMS = ("problem", "fleet", "pipelines", "profiles", "queries")
_DOCUMENTS = (".yaml", ".yml", ".json")
_TABLES = {"service": SERVICE_COLUMNS, "accuracy": ACCURACY_COLUMNS, "outputs": OUTPUT_COLUMNS}
_SECTIONS = ("machines", "links", "uplinks", "pipelines", "service", "accuracy", "outputs", "queries")


@dataclass(slots=True)
class _Sections:
    """The records of each section, of all files together."""

    settings: list[Record] = field(default_factory=list)
    lists: dict[str, list[Record]] = field(default_factory=lambda: {name: [] for name in _SECTIONS})


def read_folder(folder: Path, *, apart_from: Path | None = None) -> Case:
    """What the files of a folder say; ``apart_from`` is one that stands there and is none of them.

    Raises:
        InvalidInput: files are wrong; its violations say everything that is, with file and line.
    """
    if not folder.is_dir():
        raise InvalidInput(f"{folder} is no folder: name one with problem.yaml, or fleet.yaml and others")
    faults = Faults()
    sections = _Sections()
    count = 0
    for path, name in _files(folder, faults, apart_from):
        count += 1
        if count > MAX_FILES:
            faults.add(Place(file=name, line=1), f"more than {MAX_FILES} files")
            break
        text = _text(path, name, faults)
        if text is not None:
            _read_file(text, name, sections, faults)
    if not count:
        raise InvalidInput(f"{folder} holds none of the files that are read: {', '.join(_STEMS)} (.yaml or .json)")
    return _case(sections, faults, unread=bool(faults.found))


def _files(folder: Path, faults: Faults, apart_from: Path | None) -> Iterator[tuple[Path, str]]:
    for path in sorted(folder.iterdir()):
        if apart_from is not None and path.resolve() == apart_from.resolve():
            continue
        if path.suffix in (*_DOCUMENTS, ".csv") and path.is_file() and not path.name.startswith("."):
            stems = _TABLES if path.suffix == ".csv" else _STEMS
            stem = path.stem.split("-", 1)[0] if path.suffix == ".csv" else path.stem
            if stem in stems:
                yield path, path.name
            else:
                meant = suggestion(path.name, [f"{known}{path.suffix}" for known in stems])
                faults.add(Place(file=path.name, line=1), f"no file of this name is read{meant}")
    if (folder / "pipelines").is_dir():
        for path in sorted((folder / "pipelines").iterdir()):
            if path.suffix in _DOCUMENTS and path.is_file() and not path.name.startswith("."):
                yield path, f"pipelines/{path.name}"


def _text(path: Path, name: str, faults: Faults) -> str | None:
    place = Place(file=name, line=1)
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            faults.add(place, f"{path.stat().st_size} bytes, at most {MAX_FILE_BYTES}: split the table")
            return None
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        faults.add(Place(file=name, line=line), "not UTF-8")
    except OSError as error:
        faults.add(place, f"can't be read: {error.strerror}")
    return None


def _read_file(text: str, name: str, sections: _Sections, faults: Faults) -> None:
    if name.endswith(".csv"):
        section = name.split(".", 1)[0].split("-", 1)[0]
        sections.lists[section].extend(read_csv(text, name, _TABLES[section], faults))
        return
    root = read_document(text, name, faults)
    if root is None:
        return
    if not isinstance(root, Record):
        faults.add(root.place, f"must be keys with values: {', '.join(('settings', *_SECTIONS))}")
    elif name.startswith("pipelines/") and "pipelines" not in root.entries:
        sections.lists["pipelines"].append(root)
    else:
        fields = Fields(root, faults, name)
        settings = fields.record_of("settings")
        if settings is not None:
            sections.settings.append(settings)
        for section, records in sections.lists.items():
            records.extend(fields.records(section))
        fields.done()


def _case(sections: _Sections, faults: Faults, *, unread: bool) -> Case:
    lists = {name: tuple(records) for name, records in sections.lists.items()}
    for again in sections.settings[1:]:
        faults.add(again.place, f"settings are given twice (first at {sections.settings[0].place})")
    settings = read_settings(sections.settings[0], faults) if sections.settings else Settings()
    machines = read_machines(lists["machines"], faults)
    pipelines = read_pipelines(lists["pipelines"], machines, faults)
    names = Names(pipelines=pipelines, machines=machines)
    wires = read_wires(lists["links"], machines, faults)
    case = Case(
        settings=settings,
        machines=machines,
        wires=wires,
        uplinks=read_uplinks(lists["uplinks"], machines, wires, faults),
        pipelines=pipelines,
        service=read_service(lists["service"], names, faults),
        accuracy=read_accuracy(lists["accuracy"], names, faults),
        outputs=read_outputs(lists["outputs"], names, faults),
        queries=read_queries(lists["queries"], settings, machines, pipelines, faults),
    )
    for section in ("machines", "pipelines", "queries"):
        # A file that could not be read may hold it: that fault is told already.
        if not lists[section] and not unread:
            faults.add(Place(file="(all files)", line=1), f"section {section!r} is missing or empty")
    faults.raise_if_any()
    return case
