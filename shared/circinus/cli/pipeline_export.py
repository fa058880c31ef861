"""`circinus pipeline export`: a pipeline that is written in Python, as a pipeline.yaml."""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer

from circinus.build import PipelineBuilder
from circinus.cli import exits
from circinus.cli.output import say
from circinus.errors import CircinusError, InvalidInput
from circinus.model.pipeline import Pipeline
from circinus.spec.document import suggestion
from circinus.spec.dump import pipeline_yaml
from circinus.spec.errors import SpecError, SpecErrors
from circinus.spec.pipeline import parse_pipeline

_TARGET = re.compile(r"(?P<module>[^\W\d]\w*(\.[^\W\d]\w*)*):(?P<name>[^\W\d]\w*)")


def export(
    target: Annotated[
        str, typer.Argument(metavar="MODULE:NAME", help="A PipelineBuilder or Pipeline, by the name of its variable.")
    ],
    folder: Annotated[
        Path, typer.Option("--folder", metavar="FOLDER", help="Where the module and its neighbours lie.")
    ] = Path(),
    file: Annotated[
        Path | None, typer.Option("--output-file", metavar="FILE", help="Where to write it; without, to stdout.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if there is one.")] = False,
) -> int:
    """Writes a pipeline that is built in Python as a pipeline.yaml; no planner is needed.

    Example: circinus pipeline export pipeline:gate --output-file pipeline.yaml
    """
    if file is not None and file.is_dir():
        raise InvalidInput(f"{file}: is a folder; name the file in it")
    if file is not None and file.exists() and not force:
        raise InvalidInput(f"{file}: there is such a file already; --force replaces it")
    pipeline = load_built(target, folder)
    text = pipeline_yaml(pipeline)
    if file is None:
        sys.stdout.write(text)
        sys.stdout.flush()
    else:
        _write(file, text)
        say(f"pipeline {pipeline.id} is written to {file}")
    return exits.OK


def load_built(target: str, folder: Path) -> Pipeline:
    """The pipeline that a variable of a module in a folder holds or builds, checked.

    Raises:
        InvalidInput: there is none, or the module can't be imported; with the line where that is known.
        SpecErrors: all that is wrong with it, each with its line.
    """
    match = _TARGET.fullmatch(target)
    if match is None:
        raise InvalidInput(f'{target!r} must be "module:name", such as pipeline:gate for gate in pipeline.py')
    if not folder.is_dir():
        raise InvalidInput(f"{folder}: no such folder")
    name = match["name"]
    # Exported is the file alone: what the code prints is talk.
    with _importable(folder.resolve()), contextlib.redirect_stdout(sys.stderr):
        module = _imported(match["module"], folder)
        file = Path(getattr(module, "__file__", None) or folder / match["module"])
        if not hasattr(module, name):
            names = [known for known, value in vars(module).items() if isinstance(value, (PipelineBuilder, Pipeline))]
            hint = suggestion(name, names) if names else ""
            raise SpecErrors([_error(file, 0, f"module {match['module']!r} has no {name!r}{hint}")])
        found = getattr(module, name)
        if isinstance(found, PipelineBuilder):
            return found.build()
    line = _line_of(name, file)
    if not isinstance(found, Pipeline):
        message = f"{name!r} must be a PipelineBuilder or a Pipeline, is {type(found).__name__}"
        raise SpecErrors([_error(file, line, message)])
    try:
        return parse_pipeline(pipeline_yaml(found))
    except SpecErrors as errors:
        raise SpecErrors(_error(file, line, error.message) for error in errors.errors) from None


@contextlib.contextmanager
def _importable(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        importlib.invalidate_caches()
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(str(folder))


def _imported(name: str, folder: Path) -> ModuleType:
    try:
        return importlib.import_module(name)
    except CircinusError:
        raise  # a builder's own words, with its line
    except ModuleNotFoundError as error:
        if error.name and (error.name == name or name.startswith(f"{error.name}.")):
            raise InvalidInput(f"{folder}: no module {error.name!r}") from error
        raise SpecErrors([_failure(folder, error)]) from error
    except (Exception, SystemExit) as error:
        raise SpecErrors([_failure(folder, error)]) from error


def _failure(folder: Path, error: BaseException) -> SpecError:
    """An error with the last line of the folder's code that it went through."""
    message = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError) and error.filename:
        return _error(Path(error.filename), error.lineno or 0, f"no valid Python: {error.msg}")
    root = folder.resolve()
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).is_relative_to(root)]
    if not frames:
        return _error(folder, 0, message)
    return _error(Path(frames[-1].filename), frames[-1].lineno or 0, message)


def _error(file: Path, line: int, message: str) -> SpecError:
    here = Path.cwd()
    shown = file.relative_to(here) if file.is_relative_to(here) else file
    return SpecError(file=str(shown), line=line, message=message)


def _line_of(name: str, file: Path) -> int:
    """The last line on which a module's file binds a name outside of functions and classes; 0 if none is found."""
    try:
        tree = ast.parse(file.read_bytes(), str(file))
    except (OSError, SyntaxError, ValueError):
        return 0
    return max((line for node in tree.body for line in _bindings(name, node)), default=0)


def _bindings(name: str, node: ast.AST) -> Iterator[int]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        if node.name == name:
            yield node.lineno
        return
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        if any((alias.asname or alias.name) == name for alias in node.names):
            yield node.lineno
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id == name:
        yield node.lineno
    for child in ast.iter_child_nodes(node):
        yield from _bindings(name, child)


def _write(file: Path, text: str) -> None:
    """Written beside and renamed: whoever reads the file meanwhile reads the whole of one."""
    beside = file.with_name(f".{file.name}.{os.getpid()}.new")
    try:
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, file)
    except OSError as error:
        raise InvalidInput(f"{file}: can't be written: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()
