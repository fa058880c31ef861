"""Where the code is that a serving process runs beside its bundle's: what a sandbox has to show."""

from __future__ import annotations

import sys
from pathlib import Path

import google.protobuf

import circinus
import edge_agent


def code_folders(python: Path) -> tuple[str, ...]:
    """The interpreter's installation, its environment, and the packages that every process needs."""
    protobuf = Path(google.protobuf.__file__).parent
    packages = (Path(circinus.__file__).parent, Path(edge_agent.__file__).parent, protobuf, protobuf.parent / "_upb")
    environment = python.parent.parent
    found = [Path(sys.base_prefix), Path(sys.prefix), environment, *packages]
    # As they are named and as they are: environments link to the one and the other.
    return tuple(dict.fromkeys(str(path) for one in found for path in (one.absolute(), one.resolve())))
