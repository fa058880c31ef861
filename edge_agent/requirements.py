"""Says whether this interpreter's environment has what a bundle requires. Runs as a child of the agent.

Reads a JSON list of requirements from standard input and writes a JSON list of those that are not met, each with
the reason. A process of its own, so that the agent needn't hold ``packaging`` in memory, and so that any
interpreter can be asked.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import sys
from typing import Any


def unmet(requirements: list[str]) -> list[str]:
    """The requirements that are not met here, with what is there instead."""
    parse = _parser()
    if parse is None:
        return ["packaging: it is not installed, so requirements can't be checked"] if requirements else []
    problems: list[str] = []
    for text in requirements:
        try:
            requirement = parse(text)
        except ValueError as error:
            problems.append(f"{text}: no valid requirement: {error}")
            continue
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            problems.append(f"{text}: not installed")
            continue
        if requirement.url is not None:
            problems.append(f"{text}: asked for by address, {version} is installed")
        elif not requirement.specifier.contains(version, prereleases=True):
            problems.append(f"{text}: {version} is installed")
    return problems


def _parser() -> Any:
    for module in ("packaging.requirements", "pip._vendor.packaging.requirements"):
        try:
            return importlib.import_module(module).Requirement
        except ImportError:
            continue
    return None


if __name__ == "__main__":
    print(json.dumps(unmet(json.load(sys.stdin))))
