"""YAML files <-> model values; every error of a file at once, each with its line."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any, Literal


def schema_of(name: Literal["pipeline", "queries"]) -> dict[str, Any]:
    """The JSON schema of a file format, for editors. It says less than the readers check."""
    text = resources.files(__package__).joinpath("schema", f"{name}.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
