"""`circinus demo`: the main job on this machine, from nothing to predicted against observed."""

from __future__ import annotations

import asyncio
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

import circinus
from circinus import demo as shown
from circinus.cli.plugged import plugged
from circinus.errors import CircinusError, InvalidInput

_MISSING = "`circinus demo` starts a planner: install it with pip install 'circinus[planner,examples]'"
#: What the examples' operators import, and call.
_MODULES = ("cv2", "numpy", "onnxruntime")
_PROGRAMS = {"documents": ("tesseract",), "meeting": ("espeak-ng",)}


def demo(
    pipeline: Annotated[str, typer.Option("--pipeline", metavar="NAME", help="Which of the examples.")] = "documents",
    seconds: Annotated[float, typer.Option("--seconds", min=1.0, help="How long to serve and measure.")] = 30.0,
    keep: Annotated[bool, typer.Option("--keep", help="Leave it up until Ctrl-C, and say what to try next.")] = False,
    examples: Annotated[
        Path | None,
        typer.Option("--examples", metavar="DIR", show_default=False, help="Where the examples are; examples/ here."),
    ] = None,
) -> int:
    """Runs the main job on this machine: a planner, agents, a real pipeline, queries; then predicted against observed.

    It prints the commands that it runs, takes a few minutes, and leaves nothing behind. scripts/demo first installs
    what it needs.
    Example: circinus demo --seconds 10
    """
    plugged("planner_ready", _MISSING)()
    folder = shown.example(_examples(examples), pipeline)
    missing = [name for name in _MODULES if find_spec(name) is None]
    missing += [name for name in _PROGRAMS.get(pipeline, ()) if shutil.which(name) is None]
    if missing:
        raise CircinusError(
            f"the example {pipeline} needs {', '.join(missing)}, not installed here: scripts/demo of the source "
            "installs all of it"
        )
    return asyncio.run(shown.run(folder, seconds, keep))


def _examples(given: Path | None) -> Path:
    """The examples' folder: the one that is named, here, or beside the source.

    Raises:
        InvalidInput: there is none.
    """
    if given is not None:
        return given.absolute()
    places = (Path.cwd() / "examples", Path(circinus.__file__).resolve().parent.parent.parent / "examples")
    found = next((place for place in places if (place / "documents" / "pipeline.yaml").is_file()), None)
    if found is None:
        raise InvalidInput(
            "the examples come with the source of Circinus, and are not here: run this in its folder, or name them "
            "with --examples DIR; a first hour without them: circinus up"
        )
    return found
