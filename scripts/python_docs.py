"""Writes docs/python-reference.md, the reference of the Python client, from its classes.

Usage: .venv/bin/python scripts/python_docs.py [--check]. With --check: fails if what is there differs.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import re
import sys
import typing
from collections.abc import Iterator
from typing import Any

from reference_page import cell, write

from circinus import admin, client, contexts, errors, sync
from circinus.model import query as query_model
from circinus.model import what_if as what_if_model

_HEAD = """\
# The Python client: reference

Written from the docstrings by `scripts/python_docs.py`. [The Python client](python-client.md) shows how it is used.
Every method of `Client` is one of `SyncClient`, too, where it waits: what is `async` here is called there as it is, and
what gives values as they come is a plain iterator.

A number's unit stands at the end of its name. Values are frozen: `dataclasses.replace` makes another one.
"""
#: Classes whose methods are called, in this order, and the modules in whose values people write and read.
_CALLED = (client.Client, admin.Admin)
_WRITTEN = (query_model, what_if_model, contexts)
_SHORT = re.compile(r"\b(?:[a-z_]+\.)+([A-Za-z_]\w*)")


def methods(kind: type) -> Iterator[tuple[str, Any]]:
    """The public methods and properties of a class, by name."""
    for name in sorted(dir(kind)):
        member = inspect.getattr_static(kind, name)
        if not name.startswith("_") and (callable(getattr(member, "__func__", member)) or isinstance(member, property)):
            yield name, member


def told(kind: type, name: str, member: Any) -> str:
    """One method as it is written: its signature and what it says."""
    if isinstance(member, property):
        kind_of = _short(member.fget.__annotations__.get("return", ""))
        return f"\n#### `{name}`\n\n`{kind_of}`, a property. {_docstring(member)}"
    function = getattr(member, "__func__", member)
    signature = inspect.signature(function)
    parameters = [_plain(entry) for entry in signature.parameters.values() if entry.name not in ("self", "cls")]
    shown = signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty)
    gives = _short(signature.return_annotation) if signature.return_annotation is not inspect.Signature.empty else ""
    how = "async " if inspect.iscoroutinefunction(function) else ""
    line = f"{how}{name}{shown}" + (f" -> {gives}" if gives else "")
    return f"\n#### `{name}`\n\n```python\n{line}\n```\n\n{_docstring(function)}"


class _Shown(str):
    """A text that is shown as it stands."""

    def __repr__(self) -> str:
        return str(self)


def _plain(parameter: inspect.Parameter) -> inspect.Parameter:
    """A parameter as people write it; a function that stands in by default is not shown."""
    default = _Shown("...") if callable(parameter.default) and not inspect.isclass(parameter.default) else None
    # An annotation that is a class is shown by its name alone.
    kind = type(_short(parameter.annotation), (), {"__module__": "builtins"})
    return parameter.replace(annotation=kind, default=default or parameter.default)


def values(module: Any) -> list[type]:
    """The values and enumerations that a module makes, in its order."""
    found = [
        kind
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if kind.__module__ == module.__name__ and not kind.__name__.startswith("_")
        if dataclasses.is_dataclass(kind) or issubclass(kind, enum.Enum)
    ]
    return sorted(found, key=lambda kind: inspect.getsourcelines(kind)[1])


def returned() -> list[type]:
    """The values that methods give, and those that these are made of, by name."""
    seen: dict[str, type] = {}
    todo = [_hint(member) for kind in _CALLED for _, member in methods(kind)]
    written = {kind for module in _WRITTEN for kind in values(module)}
    while todo:
        for kind in _classes(todo.pop()):
            if kind in written or kind.__name__ in seen or not kind.__module__.startswith("circinus."):
                continue
            if dataclasses.is_dataclass(kind):
                seen[kind.__name__] = kind
                todo += _hints(kind).values()
            elif issubclass(kind, enum.Enum):
                seen[kind.__name__] = kind
    return [seen[name] for name in sorted(seen)]


def _hint(member: Any) -> Any:
    return _hints(member.fget if isinstance(member, property) else getattr(member, "__func__", member)).get("return")


def _hints(what: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(what)
    except NameError:  # what is imported for types only
        return {}


def _classes(hint: Any) -> Iterator[type]:
    if inspect.isclass(hint):
        yield hint
    for part in typing.get_args(hint):
        yield from _classes(part)


def value(kind: type) -> str:
    """One value with its fields, or one enumeration with its members."""
    said = _docstring(kind)
    if issubclass(kind, enum.Enum):
        members = ", ".join(f"`{member.value}`" for member in kind)
        return f"\n#### `{kind.__name__}`\n\n`{kind.__module__}`. {said}\nOne of {members}.\n"
    rows = "".join(
        f"| `{entry.name}` | `{cell(_short(str(entry.type)))}` | {_default(entry)} |\n"
        for entry in dataclasses.fields(kind)
        if not entry.name.startswith("_")
    )
    more = [(name, member) for name, member in methods(kind) if isinstance(member, property)]
    also = "".join(f"| `{name}` | property | {cell(_docstring(member))} |\n" for name, member in more)
    head = f"\n#### `{kind.__name__}`\n\n`{kind.__module__}`. {said}\n"
    return f"{head}| field | type | default |\n|---|---|---|\n{rows}{also}"


def _default(entry: dataclasses.Field[Any]) -> str:
    if entry.default is not dataclasses.MISSING:
        shown = entry.default.value if isinstance(entry.default, enum.Enum) else entry.default
        return f"`{cell(repr(shown))}`" if not dataclasses.is_dataclass(shown) else f"`{type(shown).__name__}()`"
    return "empty" if entry.default_factory is not dataclasses.MISSING else ""


def _short(text: Any) -> str:
    """A type as people write it."""
    shown = text if isinstance(text, str) else getattr(text, "__name__", str(text))
    return _SHORT.sub(r"\1", shown)


def _docstring(member: Any) -> str:
    """What it says; what it raises becomes a list."""
    text = inspect.cleandoc(inspect.getdoc(member) or "").replace("``", "`")
    main, _, raises = text.partition("\nRaises")
    if not raises:
        return f"{main.strip()}\n"
    lines = [line.strip() for line in raises.splitlines()[1:] if line.strip()]
    listed = "".join(f"- `{name}`: {said.strip()}\n" for name, _, said in (line.partition(":") for line in lines))
    return f"{main.strip()}\n\nRaises:\n\n{listed}"


def tree() -> str:
    """The errors, from the root, each with what it says."""

    def below(kind: type, depth: int) -> str:
        inner = sorted((k for k in kind.__subclasses__() if k.__module__ == errors.__name__), key=lambda k: k.__name__)
        line = f"| {'&nbsp;' * 4 * depth}`{kind.__name__}` | {cell(_docstring(kind))} |\n"
        return line + "".join(below(entry, depth + 1) for entry in inner)

    return f"| class | |\n|---|---|\n{below(errors.CircinusError, 0)}"


def page() -> str:
    """The whole page."""
    parts = [_HEAD]
    for kind in _CALLED:
        parts.append(f"\n## `{kind.__name__}`\n\n`{kind.__module__}`. {_docstring(kind)}")
        parts += [told(kind, name, member) for name, member in methods(kind)]
    parts.append(f"\n## `{sync.SyncClient.__name__}`\n\n`{sync.__name__}`. {_docstring(sync.SyncClient)}")
    parts.append("\n## What you give\n")
    parts += [value(kind) for module in _WRITTEN for kind in values(module)]
    parts.append("\n## What you get\n")
    parts += [value(kind) for kind in returned()]
    said = f"All in `{errors.__name__}`; a message says what, the value, the limit, and what to do."
    parts.append(f"\n## Errors\n\n{said}\n\n{tree()}")
    return "".join(parts)


if __name__ == "__main__":
    sys.exit(write("python-reference.md", page()))
