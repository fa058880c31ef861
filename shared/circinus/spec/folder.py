"""A pipeline's folder: pipeline.yaml and the code that it names."""

from __future__ import annotations

import ast
from pathlib import Path

from circinus.errors import InvalidInput
from circinus.model.pipeline import OperatorSpec, Pipeline
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
    return load_located(folder).pipeline


def load_located(folder: Path) -> LocatedPipeline:
    """The same, with the lines on which its classes are named."""
    path = folder / PIPELINE_FILE
    located = parse_located(read_text(path), str(path))
    errors = _missing_code(folder, located, str(path))
    if errors:
        raise SpecErrors(errors)
    return located


def _missing_code(folder: Path, located: LocatedPipeline, filename: str) -> list[SpecError]:
    errors: list[SpecError] = []
    operators = {operator.entry_point: operator for operator in located.pipeline.operators}
    for entry_point, line in located.entry_point_lines:
        module, _, name = entry_point.partition(":")
        path = folder.joinpath(*module.split("."))
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if not path.is_file():
            continue
        try:
            tree = ast.parse(read_text(path), filename=str(path))
        except (SyntaxError, ValueError) as error:
            at = error.lineno or 0 if isinstance(error, SyntaxError) else 0
            errors.append(SpecError(file=str(path), line=at, message=f"no valid Python: {error}"))
            continue
        names = _top_level_names(tree)
        # A star import may bring anything.
        if name not in names and "*" not in names:
            message = f"{path.name} has no {name!r}{suggestion(name, sorted(names))}"
            errors.append(SpecError(file=filename, line=line, message=message))
        elif entry_point in operators:
            errors.extend(_missing_knobs(tree, path, operators[entry_point]))
    return sorted(set(errors))


def _missing_knobs(tree: ast.Module, path: Path, operator: OperatorSpec) -> list[SpecError]:
    """Knobs that an operator's class reads as ``self.knobs["name"]`` and that pipeline.yaml doesn't declare.

    One that the class asks for in any other way (``.get``, ``in``) it may well do without.
    """
    declared = {knob.name for knob in operator.knobs}
    class_name = operator.entry_point.partition(":")[2]
    errors = []
    for definition in tree.body:
        if not (isinstance(definition, ast.ClassDef) and definition.name == class_name):
            continue
        nodes = list(ast.walk(definition))
        optional = {
            node.value
            for outer in nodes
            if isinstance(outer, (ast.Call, ast.Compare))
            for node in ast.walk(outer)
            if isinstance(node, ast.Constant) and _asks_for_knobs(outer)
        }
        for node in nodes:
            if not (isinstance(node, ast.Subscript) and _is_knobs(node.value) and isinstance(node.slice, ast.Constant)):
                continue
            name = node.slice.value
            if name not in declared and name not in optional:
                hint = suggestion(str(name), sorted(declared)) or f"; add it under knobs of operator {operator.id!r}"
                message = f"{class_name} reads the knob {name!r}, which {PIPELINE_FILE} doesn't declare{hint}"
                errors.append(SpecError(file=str(path), line=node.lineno, message=message))
    return errors


def _is_knobs(node: ast.expr) -> bool:
    """``self.knobs``."""
    return isinstance(node, ast.Attribute) and node.attr == "knobs" and getattr(node.value, "id", "") == "self"


def _asks_for_knobs(node: ast.Call | ast.Compare) -> bool:
    """``self.knobs.get(...)`` or ``... in self.knobs``."""
    if isinstance(node, ast.Compare):
        return any(isinstance(one, (ast.In, ast.NotIn)) for one in node.ops) and any(map(_is_knobs, node.comparators))
    return isinstance(node.func, ast.Attribute) and _is_knobs(node.func.value)


def _top_level_names(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names
