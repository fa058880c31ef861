"""A pipeline's folder: pipeline.yaml and the code that it names."""

from __future__ import annotations

import ast
from pathlib import Path

from circinus.errors import InvalidInput
from circinus.model.pipeline import Pipeline
from circinus.spec.document import suggestion
from circinus.spec.errors import SpecError, SpecErrors
from circinus.spec.pipeline import LocatedPipeline, parse_located

PIPELINE_FILE = "pipeline.yaml"


def read_text(path: Path) -> str:
    """A text file.

    Raises:
        InvalidInput: it can't be read or isn't UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InvalidInput(f"{path}: no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: can't be read as UTF-8 text: {error}") from error


def load_pipeline(folder: Path) -> Pipeline:
    """The pipeline in a folder, with the classes that it names looked for in the folder's own modules.

    Nothing is imported. A class of a module that isn't in the folder is taken to be installed.

    Raises:
        InvalidInput: there is no pipeline.yaml.
        SpecErrors: all that is wrong with it, each with its line.
    """
    path = folder / PIPELINE_FILE
    located = parse_located(read_text(path), str(path))
    errors = _missing_code(folder, located, str(path))
    if errors:
        raise SpecErrors(errors)
    return located.pipeline


def _missing_code(folder: Path, located: LocatedPipeline, filename: str) -> list[SpecError]:
    errors: list[SpecError] = []
    for entry_point, line in located.entry_point_lines:
        module, _, name = entry_point.partition(":")
        path = folder.joinpath(*module.split("."))
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if not path.is_file():
            continue
        try:
            names = _top_level_names(path)
        except (SyntaxError, ValueError) as error:
            at = error.lineno or 0 if isinstance(error, SyntaxError) else 0
            errors.append(SpecError(file=str(path), line=at, message=f"no valid Python: {error}"))
            continue
        # A star import may bring anything.
        if name not in names and "*" not in names:
            message = f"{path.name} has no {name!r}{suggestion(name, sorted(names))}"
            errors.append(SpecError(file=filename, line=line, message=message))
    return sorted(set(errors))


def _top_level_names(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(read_text(path), filename=str(path))):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names
