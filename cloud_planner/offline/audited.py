"""``circinus audit FILE``: a recorded selection held against its problem.

FILE is a record, which has both (record.py), or an answer of ``circinus plan --offline``, whose problem stands in a
folder. Files are only read.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from circinus.errors import InvalidInput, TooLarge
from circinus.model.plan import Selection
from cloud_planner.core.audited import Finding
from cloud_planner.core.problem import Problem
from cloud_planner.offline.answer import Json, to_json, to_yaml
from cloud_planner.offline.answer_reading import read_answer
from cloud_planner.offline.assemble import Assembly, assemble
from cloud_planner.offline.documents import Faults, Node, Record, Scalar, read_document
from cloud_planner.offline.documents import Sequence as ListNode
from cloud_planner.offline.ending import FOUND_WRONG, OK, guarded
from cloud_planner.offline.folder import read_folder
from cloud_planner.record import MAX_CHARS, is_record, record_of

#: Selections that were read: their problem, what they say, and what they say wrongly of their problem.
Found = tuple[Problem, Selection, tuple[Finding, ...]]


def run(file: Path, *, against: Path | None = None, output: str = "table", error_document: bool = False) -> int:
    """Audits a recorded selection and prints what is wrong with it.

    Args:
        file: a record, or an answer of ``circinus plan --offline`` as JSON or YAML.
        against: the folder that an answer is held against; None: the one that the file stands in.
        output: table, json or yaml.
        error_document: what goes wrong is also written to standard output, as one JSON document.

    Returns:
        0 if nothing is wrong, 3 if there are findings, 2 if the files can't be read, 1 if anything else fails.
    """
    return guarded(lambda: _audit(file, against, output), output, error_document=error_document)


def _audit(file: Path, against: Path | None, output: str) -> int:
    problem, selection, said = read_selection(file, against)
    findings = (*said, *checked(problem, selection))
    sys.stdout.write(_text(problem, selection, findings, output))
    return FOUND_WRONG if findings else OK


def checked(problem: Problem, selection: Selection) -> tuple[Finding, ...]:
    """All that is wrong with a selection.

    Raises:
        InvalidInput: the problem can't be audited, since it contradicts itself.
    """
    # Numerics take a while to import: bad files are told without them.
    from cloud_planner.core.audit import audit
    from cloud_planner.core.audit_figures import audit_figures

    try:
        return (*audit(problem, selection), *audit_figures(problem, selection))
    except (KeyError, IndexError, ValueError, ZeroDivisionError, OverflowError, StopIteration) as error:
        raise InvalidInput(f"its problem can't be audited: {type(error).__name__}: {error}") from error


def read_selection(file: Path, against: Path | None) -> Found:
    """The selection in a file, and its problem.

    Raises:
        InvalidInput: the file, or the folder of its problem, can't be read.
    """
    document = read_file(file)
    if is_record(document):
        if against is not None:
            raise InvalidInput(f"{file} is a record, which has its problem in it: leave --against out")
        try:
            record = record_of(document)
        except InvalidInput as error:
            raise InvalidInput(f"{file}: {error.message}", error.violations) from error
        return record.problem, record.selection, ()
    folder = against if against is not None else file.parent
    assembly = _assembly(file, folder, asked=against is not None)
    return assembly.problem, *_selection(file, document, assembly)


def earlier_selection(file: Path, assembly: Assembly) -> Selection:
    """The selection of an earlier answer or record, for the problem at hand.

    Raises:
        InvalidInput: the file can't be read.
    """
    document = read_file(file)
    if is_record(document):
        return record_of(document).selection
    return _selection(file, document, assembly)[0]


def _selection(file: Path, document: Any, assembly: Assembly) -> tuple[Selection, tuple[Finding, ...]]:
    try:
        return read_answer(document, assembly)
    except InvalidInput as error:
        message = f"{file} is neither a record nor an answer of `circinus plan --offline`: {error.message}"
        raise InvalidInput(message, error.violations) from error


def _assembly(file: Path, folder: Path, *, asked: bool) -> Assembly:
    """The problem in a folder, in which the answer itself may stand, too."""
    try:
        return assemble(read_folder(folder, apart_from=file))
    except InvalidInput as error:
        if asked:
            raise
        hint = f"{error.message} (the answer is held against the folder that it stands in; --against names another)"
        raise InvalidInput(hint, error.violations) from error


def read_file(file: Path) -> Any:
    """A JSON or YAML file, decoded.

    Raises:
        InvalidInput: it can't be.
        TooLarge: it is too large.
    """
    try:
        if file.stat().st_size > MAX_CHARS:
            raise TooLarge(f"{file} has {file.stat().st_size:,} bytes; the limit is {MAX_CHARS:,}")
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{file} is not UTF-8") from error
    except OSError as error:
        raise InvalidInput(f"{file} can't be read: {error.strerror}") from error
    if text.lstrip().startswith("{"):
        try:
            return json.loads(text, object_pairs_hook=_once)
        except json.JSONDecodeError as error:
            raise InvalidInput(f"{file}:{error.lineno}: not valid JSON: {error.msg}") from error
        except RecursionError:
            raise InvalidInput(f"{file} is nested too deeply") from None
    faults = Faults()
    node = read_document(text, file.name, faults)
    faults.raise_if_any()
    return None if node is None else _plain(node)


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidInput(f"the key {twice!r} is given twice in one object")
    return found


def _plain(node: Node) -> Any:
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, ListNode):
        return [_plain(item) for item in node.items]
    return _plain_record(node)


def _plain_record(node: Record) -> dict[str, Any]:
    return {name: _plain(entry) for name, entry in node.entries.items()}


def _text(problem: Problem, selection: Selection, findings: Sequence[Finding], output: str) -> str:
    told: dict[str, Json] = {
        "clean": not findings,
        "findings": [{"subject": finding.subject, "message": finding.message} for finding in findings],
        "queries": len(problem.queries),
        "plans": len(selection.plans),
        "unplaced": len(selection.unplaced),
        "machines": len(selection.machines),
    }
    if output == "json":
        return to_json(told)
    if output == "yaml":
        return to_yaml(told)
    what = (
        f"{len(selection.plans):,} plans on {len(selection.machines):,} machines, "
        f"{len(selection.unplaced):,} of {len(problem.queries):,} queries unplaced"
    )
    if not findings:
        return f"clean: {what}\n"
    width = max(len(finding.subject or "(all)") for finding in findings)
    lines = [f"{(finding.subject or '(all)').ljust(width)}  {finding.message}" for finding in findings]
    count = f"{len(findings):,} finding{'' if len(findings) == 1 else 's'}"
    return "\n".join([*lines, f"{count}: {what}"]) + "\n"
