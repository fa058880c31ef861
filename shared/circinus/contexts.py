"""The context file: which planners a person uses, and who they are to each.

current = "shop"

[contexts.shop]
planner = "planner.example:7400"
root = '''
-----BEGIN CERTIFICATE-----
...
'''
certificate = '''...'''     # with `key`: mutual TLS, at the planner's port
key = '''...'''
# or, at the planner's port for enrolment:
# token = "circp.ann.SECRET"

The file holds secrets: it is written at once or not at all, for its owner only.
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from circinus.channel import Tls, check_address
from circinus.errors import CircinusError, InvalidInput, NotFound, Violation

#: Which context is used, and where the file is.
CONTEXT_VARIABLE = "CIRCINUS_CONTEXT"
FILE_VARIABLE = "CIRCINUS_CONTEXTS"

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_TEXTS = ("planner", "root", "certificate", "key", "token")
_MAX_FILE_BYTES = 1024 * 1024
_PEM_CERTIFICATE = "-----BEGIN CERTIFICATE-----"
_PEM_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bearer:
    """Who a person is by a token, and the root (PEM) that they trust."""

    root: bytes
    token: str = field(repr=False)


Credentials = Tls | Bearer


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One planner: HOST:PORT, its root (PEM), and either ``certificate`` and ``key`` (PEM) or a bearer ``token``."""

    name: str
    planner: str
    root: str
    certificate: str = ""
    key: str = field(default="", repr=False)
    token: str = field(default="", repr=False)

    @property
    def credentials(self) -> Credentials:
        """What a client shows and whom it trusts."""
        if self.token:
            return Bearer(root=self.root.encode(), token=self.token)
        return Tls(root=self.root.encode(), certificate=self.certificate.encode(), key=self.key.encode())

    @property
    def kind(self) -> str:
        """By what the planner knows this person."""
        return "token" if self.token else "certificate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contexts:
    """All of a file, by name; ``current`` is empty if none is chosen."""

    current: str = ""
    contexts: tuple[Context, ...] = ()

    def names(self) -> tuple[str, ...]:
        """Their names, in order."""
        return tuple(context.name for context in self.contexts)

    def named(self, name: str) -> Context:
        """One of them.

        Raises:
            NotFound: there is none of this name.
        """
        found = next((context for context in self.contexts if context.name == name), None)
        if found is None:
            known = ", ".join(self.names()) or "none; `circinus context add FILE` adds one"
            raise NotFound(f"there is no context {name!r}; known: {known}")
        return found

    def using(self, name: str) -> Contexts:
        """The same with another current one.

        Raises:
            NotFound: there is none of this name.
        """
        return replace(self, current=self.named(name).name)

    def plus(self, context: Context) -> Contexts:
        """With this one, in place of one of the same name. The first becomes the current one."""
        others = {one.name: one for one in self.contexts}
        others[context.name] = context
        ordered = tuple(others[name] for name in sorted(others))
        return Contexts(current=self.current or context.name, contexts=ordered)

    def minus(self, name: str) -> Contexts:
        """Without this one; if it was the current one, none is.

        Raises:
            NotFound: there is none of this name.
        """
        self.named(name)
        left = tuple(context for context in self.contexts if context.name != name)
        return Contexts(current="" if self.current == name else self.current, contexts=left)


def default_path(environ: Mapping[str, str]) -> Path:
    """Where a person's context file is: CIRCINUS_CONTEXTS, else circinus/contexts.toml in ~/.config."""
    if told := environ.get(FILE_VARIABLE):
        return Path(told)
    home = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME") or "~").expanduser() / ".config")
    return Path(home) / "circinus" / "contexts.toml"


def chosen(path: Path, name: str = "") -> Context:
    """The context of this name, or the current one.

    Raises:
        InvalidInput: the file is wrong, or no context is chosen.
        NotFound: there is none of this name.
    """
    found = load(path)
    if name:
        return found.named(name)
    if found.current:
        return found.named(found.current)
    if found.contexts:
        raise InvalidInput(
            f"{path} has no current context; choose one of {', '.join(found.names())}: circinus context use NAME"
        )
    raise InvalidInput(
        f"no planner is known here: {path} has no context; `circinus context add FILE` adds what an admin of the "
        "planner gave you (the first admin's is the planner's STATE_DIR/identity/admin.toml); --insecure-loopback "
        "asks a planner of this machine in the clear"
    )


def load(path: Path) -> Contexts:
    """The contexts of a file; none if there is no file.

    Raises:
        InvalidInput: it can't be read, or is wrong; its violations name every wrong key.
    """
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise InvalidInput(f"{path} is larger than {_MAX_FILE_BYTES} bytes: that is no context file")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Contexts()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"can't read {path}: {error}") from error
    return parse(text, str(path))


def others_may_read(path: Path) -> bool:
    """Whether more than its owner may read the file, which holds secrets."""
    try:
        return bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))
    except OSError:
        return False


def parse(text: str, filename: str = "contexts.toml") -> Contexts:
    """The contexts of a text.

    Raises:
        InvalidInput: it is wrong; its violations name every wrong key.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"{filename} is not TOML: {error}") from error
    wrong: list[Violation] = []
    current, tables = document.pop("current", ""), document.pop("contexts", {})
    wrong.extend(Violation(field=key, message="is no known key") for key in document)
    if not isinstance(current, str):
        wrong.append(Violation(field="current", message="must be a context's name in quotes"))
    if not isinstance(tables, dict):
        wrong.append(Violation(field="contexts", message="must be tables: [contexts.NAME]"))
        tables = {}
    contexts = tuple(_context(name, tables[name], wrong) for name in sorted(tables))
    if isinstance(current, str) and current and current not in tables:
        wrong.append(Violation(field="current", message=f"is {current!r}; there is no [contexts.{current}]"))
    if wrong:
        listed = "; ".join(str(violation) for violation in wrong)
        raise InvalidInput(f"{filename}: {listed}", tuple(wrong))
    return Contexts(current=current, contexts=contexts)


def _context(name: str, table: Any, wrong: list[Violation]) -> Context:
    before, prefix = len(wrong), f"contexts.{name}"

    def is_wrong(key: str, message: str) -> None:
        wrong.append(Violation(field=f"{prefix}.{key}" if key else prefix, message=message))

    if not _NAME.fullmatch(name):
        is_wrong("", "its name may have letters, digits and . _ - between them, at most 63")
    if not isinstance(table, dict):
        is_wrong("", f"must be a table: [{prefix}]")
        table = {}
    for key in sorted(set(table) - set(_TEXTS)):
        is_wrong(key, "is no known key")
    values = {key: table.get(key, "") for key in _TEXTS}
    for key, value in values.items():
        if not isinstance(value, str):
            is_wrong(key, "must be text in quotes")
            values[key] = ""
    if len(wrong) == before:
        _check(values, is_wrong)
    return Context(
        name=name, **{key: value.strip() + "\n" if "\n" in value else value for key, value in values.items()}
    )


def _check(values: Mapping[str, str], is_wrong: Any) -> None:
    try:
        check_address(values["planner"])
    except InvalidInput as error:
        is_wrong("planner", error.message)
    if _PEM_CERTIFICATE not in values["root"]:
        is_wrong("root", "must be the planner's root certificate (PEM)")
    if values["token"]:
        if values["certificate"] or values["key"]:
            is_wrong("token", "stands beside a certificate or key; keep one of both")
        elif not re.fullmatch(r"[\x21-\x7e]+", values["token"]):
            is_wrong("token", "has characters that no token has")
        return
    if _PEM_CERTIFICATE not in values["certificate"]:
        is_wrong("certificate", "must be a certificate (PEM), or there must be a token")
    if not _PEM_KEY.search(values["key"]):
        is_wrong("key", "must be the certificate's private key (PEM), or there must be a token")


def dump(contexts: Contexts) -> str:
    """The text of a file with these contexts; ``parse`` gives the same contexts for it."""
    lines = [f"current = {_text(contexts.current)}"] if contexts.current else []
    for context in contexts.contexts:
        lines += ["", f"[contexts.{_text(context.name)}]"]
        lines += [f"{key} = {_text(value)}" for key in _TEXTS if (value := getattr(context, key))]
    return "\n".join(lines).lstrip("\n") + "\n"


def _text(value: str) -> str:
    """A TOML string: on several lines if it has them and needs no escapes there."""
    if "\n" in value and "'''" not in value and all(char.isprintable() or char == "\n" for char in value):
        return f"'''\n{value.removesuffix(chr(10))}\n'''"
    escaped = "".join(char if char.isprintable() and char not in '"\\' else f"\\U{ord(char):08x}" for char in value)
    return f'"{escaped}"'


def save(path: Path, contexts: Contexts) -> None:
    """Writes a file with these contexts, at once or not at all, for its owner only.

    Raises:
        CircinusError: it can't be written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Beside it, since only within one file system a rename is one step. Its mode is 0600 from the start.
        descriptor, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(dump(contexts))
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise CircinusError(
            f"can't write {path}: {error.strerror or error}; free space, or name another with {FILE_VARIABLE}"
        ) from error
