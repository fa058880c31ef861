"""Writes shared/circinus/cli/schema/, a JSON schema of what each `circinus` command prints with -o json, from the code.

Usage: .venv/bin/python scripts/cli_schema.py [--check]. With --check: fails if what is there differs.

Programs rely on these files: a field that is renamed or taken away shows in their diff, and that is a change that users
are told of. DOCUMENTS below has an entry for each command; a new command gets one, with the type of the value that it
gives to `emit`, or `Fields(...)` for a document that has no type.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from pathlib import Path, PurePath
from typing import Any, NewType, Union, get_args, get_origin, get_type_hints

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from circinus import (
    accounts,
    admin,
    declared_calls,
    device_calls,
    event_calls,
    first_hour,
    look_calls,
    reports,
    support,
)
from circinus.cli import query_watch, version
from circinus.model import changes, device, pipeline, query
from circinus.model.diagnosis import Diagnosis
from circinus.model.pipeline import Configuration
from circinus.model.plan_diff import PlanDiff
from circinus.top.once import Once
from circinus.v1 import planner_pb2
from edge_agent.local.check import CheckReport
from edge_agent.local.profile import ProfileReport

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "shared" / "circinus" / "cli" / "schema"
_SELECTION = ROOT / "cloud_planner" / "offline" / "schema" / "selection.schema.json"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Fields:
    """An object without a type of its own: its fields, of which those in ``optional`` may be left out."""

    fields: Mapping[str, Any]
    optional: frozenset[str] = frozenset()

    def __or__(self, other: None) -> Either:
        """It, or null."""
        return Either((self, other))


@dataclasses.dataclass(frozen=True)
class Either:
    """One of several documents: which, the options say."""

    kinds: tuple[Any, ...]


@dataclasses.dataclass(frozen=True)
class Lines:
    """One document a line instead of one in all."""

    of: Any


@dataclasses.dataclass(frozen=True)
class AsItIs:
    """A schema that is there already."""

    schema: Schema


@dataclasses.dataclass(frozen=True)
class AsMessage:
    """A document with the fields of a message; what is not there is null."""

    descriptor: Any


REMOVAL = Fields({"removed": list[str], "failed": Mapping[str, str]})
CONTEXT = {
    "name": str,
    "current": bool,
    "planner": str,
    "known_by": str,
    "ends_at": datetime | None,
    "fault": str,
}
BACKUP = {
    "file": str,
    "made_at": datetime,
    "version": str,
    "host": str,
    "epoch": int,
    "generation": int,
    "schemas": Mapping[str, int],
    "with_keys": bool,
    "devices": int,
    "pipelines": int,
    "queries": int,
    "blobs": int,
    "left_out": Mapping[str, str],
}
SUPPORT = {
    "file": str,
    "size_bytes": int,
    "made_at": datetime,
    "made_by": str,
    "secrets_taken_out": int,
    "what_it_tells": str,
    "entries": list[support.Entry],
    "left_out": list[support.LeftOut],
}
FLEET = Fields(
    {
        "version": int,
        "goodput_per_s": float,
        "goodput_bound_per_s": float,
        "placed": int,
        "unplaced": int,
        "machines": list[Fields({"machine": str, "used_ratio": float})],
        "conflicts": list[
            Fields(
                {
                    "query": str,
                    "reason": str,
                    "limits": list[str],
                    "relaxations": list[str],
                    "together": list[str],
                }
            )
        ],
        "marginal_values": list[
            Fields(
                {
                    "kind": str,
                    "subject": str,
                    "device_class": str,
                    "site": str,
                    "value": float,
                    "basis": str,
                    "degenerate": bool,
                    "what": str,
                    "worth": str,
                }
            )
        ],
    }
)
#: What a command prints. Whoever adds a command adds a line.
DOCUMENTS: Mapping[str, Any] = {
    "circinus apply": Fields(
        {
            "dry_run": bool,
            "counts": Mapping[str, int],
            "changes": list[changes.Change],
            "unplaced": list[str],
            "plans": PlanDiff,
        },
        frozenset({"plans"}),
    ),
    "circinus audit": Fields(
        {
            "clean": bool,
            "findings": list[Fields({"subject": str, "message": str})],
            "queries": int,
            "plans": int,
            "unplaced": int,
            "machines": int,
        }
    ),
    "circinus audit-log": admin.AuditLog,
    "circinus backup": Fields({**BACKUP, "size_bytes": int}),
    "circinus context add": Fields({"added": list[str], "current": str}),
    "circinus context ls": list[Fields(CONTEXT)],
    "circinus context show": Fields({**CONTEXT, "root": str, "certificate": str}),
    "circinus device cordon": Either((reports.DeviceState, PlanDiff)),
    "circinus device drain": Either((device_calls.DrainProgress, PlanDiff)),
    "circinus device label": Mapping[str, str],
    "circinus device leave": Either((device_calls.DrainProgress, PlanDiff)),
    "circinus device ls": list[reports.DeviceState],
    "circinus device revoke": Fields({"device_id": str, "revoked": bool, "why": str}),
    "circinus device show": reports.DeviceState,
    "circinus device uncordon": reports.DeviceState,
    "circinus doctor": list[Diagnosis],
    "circinus down": Fields({"state_dir": str, "ended": list[str]}),
    "circinus events": list[event_calls.PlannerEvent],
    "circinus explain": Either((AsMessage(planner_pb2.ExplainResponse.DESCRIPTOR), FLEET)),
    "circinus identity ls": list[admin.Identity],
    "circinus ledger": Either((list[reports.LedgerEntry], accounts.AccountsReport)),
    "circinus logs": list[look_calls.LogLine],
    "circinus person create": Either(
        (
            Fields({"file": str, "about": admin.Person}),
            Fields({"name": str, "context": str, "about": admin.Person}),
        )
    ),
    "circinus person ls": list[admin.Person],
    "circinus person rm": REMOVAL,
    "circinus pipeline add": Either(
        (
            Fields({"pipeline_id": str}),
            Fields({"pipeline_id": str, "verdict": changes.Verdict, "details": list[str], "dry_run": bool}),
        )
    ),
    "circinus pipeline check": CheckReport,
    "circinus pipeline lint": Fields(
        {
            "pipeline_id": str,
            "operators": list[str],
            "configurations": int,
            "contents": list[str],
            "errors": list[str],
        }
    ),
    "circinus pipeline ls": list[reports.PipelineState],
    "circinus pipeline profile": ProfileReport,
    "circinus pipeline rm": Either((REMOVAL, Fields({"removable": list[str], "dry_run": bool}))),
    "circinus plan": Either((reports.SelectionReport, PlanDiff, AsItIs(json.loads(_SELECTION.read_text())))),
    "circinus query ls": list[reports.QueryState],
    "circinus query rm": Either((REMOVAL, PlanDiff)),
    "circinus query show": reports.QueryState,
    "circinus query submit": Either((list[reports.QueryState], PlanDiff)),
    "circinus query watch": Lines(query_watch.WatchLine),
    "circinus report": Fields({"file": str, "bytes": int, "queries": int, "left_out": list[str]}),
    "circinus restore": Fields(
        {
            **BACKUP,
            "dry_run": bool,
            "state_dir": str,
            "aside": str,
            "identity": str,
            "goes_on_from": Fields({"epoch": int, "generation": int}),
        }
    ),
    "circinus status": reports.PlannerStatus,
    "circinus support-bundle": Fields(SUPPORT),
    "circinus tap": Lines(look_calls.TappedItem),
    "circinus token create": Either(
        (
            Fields({"file": str, "about": admin.Token}),
            Fields({"id": str, "token": str, "about": admin.Token}),
        )
    ),
    "circinus token ls": list[admin.Token],
    "circinus token rm": REMOVAL,
    "circinus top": Once,
    "circinus up": first_hour.Record,
    "circinus version": Fields(
        {
            "client": Fields({"version": str, "protocol": str}),
            "planner": Fields(
                {
                    "address": str,
                    "version": str,
                    "protocol": str,
                    "schemas": Fields({"planner": int, "identity": int}),
                    "epoch": int,
                }
            )
            | None,
            "agents": list[declared_calls.AgentVersion],
            "unreachable": str,
            "fits": bool | None,
            "findings": list[version.Finding],
        }
    ),
    "circinus watch": list[reports.QueryState],
    "circinus what-if": reports.WhatIfReport,
}
#: Commands that print no document, and why.
NONE: Mapping[str, str] = {
    "circinus completion": "it prints a script for a shell",
    "circinus context rm": "it prints nothing",
    "circinus context use": "it prints nothing",
    "circinus demo": "it tells a story: the commands that it runs, and what they print",
    "circinus pipeline export": "it prints a pipeline.yaml",
    "circinus query results": "it prints results as they come, one JSON object a line, whose fields are the pipeline's",
}
#: What every command prints at failure.
ERROR = Fields(
    {
        "error": Fields(
            {
                "kind": str,
                "message": str,
                "exit_code": int,
                "violations": list[Mapping[str, Any]],
            },
            frozenset({"violations"}),
        )
    }
)


class _Writer:
    """One file's schema; types with a name stand under $defs, once each."""

    def __init__(self) -> None:
        self.parts: dict[str, Schema] = {}
        self._kinds: dict[str, Any] = {}

    def of(self, kind: Any) -> Schema:
        """The schema of a type or of one of the above."""
        if isinstance(kind, Fields):
            return self._object(kind.fields, kind.optional)
        if isinstance(kind, Either):
            return {"anyOf": [self.of(one) for one in kind.kinds]}
        if isinstance(kind, Lines):
            return self.of(kind.of)
        if isinstance(kind, AsItIs):
            return {key: value for key, value in kind.schema.items() if key not in ("$schema", "$id")}
        if isinstance(kind, AsMessage):
            return self._message(kind.descriptor)
        if isinstance(kind, NewType):
            return self.of(kind.__supertype__)
        plain = _PLAIN.get(kind) if isinstance(kind, type) or kind in (None, Any) else None
        if plain is not None:
            return dict(plain)
        return self._composed(kind)

    def _composed(self, kind: Any) -> Schema:
        origin, arguments = get_origin(kind), get_args(kind)
        if origin in (Union, types.UnionType):
            return _joined([self.of(one) for one in arguments])
        if origin is tuple and (len(arguments) != 2 or arguments[1] is not Ellipsis):
            return {
                "type": "array",
                "prefixItems": [self.of(one) for one in arguments],
                "minItems": len(arguments),
                "maxItems": len(arguments),
            }
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return {"type": "object", "additionalProperties": self.of(arguments[1])}
        if isinstance(origin, type) and issubclass(origin, Iterable):
            return {"type": "array", "items": self.of(arguments[0])}
        if isinstance(kind, type) and issubclass(kind, Enum):
            return {"enum": [one.value for one in kind]}
        if isinstance(kind, type) and issubclass(kind, PurePath):
            return {"type": "string"}
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            return self._named(kind.__name__, kind, lambda: self._fields_of(kind))
        raise TypeError(f"{kind!r} has no schema: teach scripts/cli_schema.py")

    def _fields_of(self, kind: type) -> Schema:
        hints = get_type_hints(kind, localns=_NAMES)
        fields = {field.name: hints[field.name] for field in dataclasses.fields(kind)}
        fields = {name: each for name, each in fields.items() if name not in _LEFT_OUT.get(kind, ())}
        return self._object({**fields, **_ADDED.get(kind, {})})

    def _named(self, name: str, kind: Any, make: Callable[[], Schema]) -> Schema:
        if self._kinds.setdefault(name, kind) is not kind:
            raise TypeError(f"two types are called {name}: {kind} and {self._kinds[name]}")
        if name not in self.parts:
            # Before it is made: a type may hold itself.
            self.parts[name] = {}
            self.parts[name] = make()
        return {"$ref": f"#/$defs/{name}"}

    def _object(self, fields: Mapping[str, Any], optional: frozenset[str] = frozenset()) -> Schema:
        return {
            "type": "object",
            "properties": {name: self.of(kind) for name, kind in fields.items()},
            "required": [name for name in fields if name not in optional],
            "additionalProperties": False,
        }

    def _message(self, descriptor: Descriptor) -> Schema:
        if descriptor.full_name == "circinus.v1.Configuration":
            return self.of(Configuration)
        return self._named(descriptor.name, descriptor, lambda: self._message_fields(descriptor))

    def _message_fields(self, descriptor: Descriptor) -> Schema:
        found = {field.name: self._message_field(field) for field in descriptor.fields}
        return {"type": "object", "properties": found, "required": list(found), "additionalProperties": False}

    def _message_field(self, field: FieldDescriptor) -> Schema:
        one = self._message(field.message_type) if field.message_type else dict(_OF_FIELDS[field.cpp_type])
        if field.is_repeated:
            return {"type": "array", "items": one}
        return _joined([one, {"type": "null"}]) if field.has_presence else one


#: What commands leave out of a value, and what they add to it.
_LEFT_OUT: Mapping[type, Sequence[str]] = {look_calls.TappedField: ("data",)}
_ADDED: Mapping[type, Mapping[str, Any]] = {look_calls.TappedItem: {"saved": list[str]}}
#: What modules import for types alone.
_NAMES = {**vars(device), **vars(pipeline), **vars(query)}
_PLAIN: Mapping[Any, Schema] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    # What is not finite becomes null (circinus.cli.output.document_of).
    float: {"type": ["number", "null"]},
    type(None): {"type": "null"},
    None: {"type": "null"},
    Any: {},
    datetime: {"type": "string", "format": "date-time"},
}
_OF_FIELDS: Mapping[int, Schema] = {
    FieldDescriptor.CPPTYPE_STRING: {"type": "string"},
    FieldDescriptor.CPPTYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.CPPTYPE_UINT32: {"type": "integer"},
    FieldDescriptor.CPPTYPE_DOUBLE: {"type": ["number", "null"]},
}


def _joined(found: Sequence[Schema]) -> Schema:
    """One of several: as a list of types where each is no more than that."""
    if all(set(one) == {"type"} for one in found):
        names: list[str] = []
        for one in found:
            names += [one["type"]] if isinstance(one["type"], str) else one["type"]
        return {"type": list(dict.fromkeys(names))}
    return {"anyOf": list(found)}


def schema_of(name: str, kind: Any) -> Schema:
    """The whole schema of what a command prints."""
    writer = _Writer()
    made = writer.of(kind)
    about = "Each line that" if isinstance(kind, Lines) else "What"
    head = {"$schema": _DIALECT, "title": name, "description": f"{about} `{name} -o json` prints."}
    return {**head, **made, **({"$defs": dict(sorted(writer.parts.items()))} if writer.parts else {})}


def files() -> dict[Path, str]:
    """Every file, and what it has to have."""
    found = {"error": schema_of("an error", ERROR)}
    found |= {
        name.removeprefix("circinus ").replace(" ", "-"): schema_of(name, kind) for name, kind in DOCUMENTS.items()
    }
    return {FOLDER / f"{name}.json": json.dumps(schema, indent=1) + "\n" for name, schema in found.items()}


def main() -> int:
    """Writes the files, or checks them."""
    wanted = files()
    there = {path: path.read_text() for path in FOLDER.glob("*.json")}
    if "--check" in sys.argv[1:]:
        wrong = sorted(path.name for path in wanted.keys() | there.keys() if wanted.get(path) != there.get(path))
        if wrong:
            sys.stderr.write(f"cli_schema: {', '.join(wrong)} differ: run scripts/cli_schema.py and commit\n")
        return 1 if wrong else 0
    FOLDER.mkdir(exist_ok=True)
    for path in there.keys() - wanted.keys():
        path.unlink()
    for path, text in wanted.items():
        path.write_text(text)
    return 0


__all__ = ["DOCUMENTS", "ERROR", "FOLDER", "NONE", "files", "schema_of"]

if __name__ == "__main__":
    sys.exit(main())
