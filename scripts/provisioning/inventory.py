"""The inventory file (TOML): which boxes there are, what each is to be. All mistakes are told at once."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")
_ADDRESS = re.compile(r"[^\s:]+:\d{1,5}|\[[0-9a-f:]+\]:\d{1,5}")
#: Of ssh: neither a name nor an address may be taken for an option.
_HOST = re.compile(r"[A-Za-z0-9\[][A-Za-z0-9.:_\[\]%-]{0,252}")
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")
_TTL = re.compile(r"\d+(\.\d+)?[smhd]?")
_LABEL = re.compile(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?")
_KEY = re.compile(r"[A-Za-z0-9_-]+")
_TIERS = ("edge", "cloud")
_SERVICES = ("auto", "systemd", "plain", "none")
_MAX_HOSTS = 20_000
_RESERVED = {"device_id", "planner", "enrol", "state_dir", "tier", "site", "wheels", "labels"}


class BadInventory(Exception):
    """The inventory can't be used; lists all that is wrong with it."""

    def __init__(self, filename: str, faults: Sequence[str]) -> None:
        super().__init__(f"{filename} can't be used:\n" + "\n".join(f"  {fault}" for fault in faults))


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannerSpec:
    """Where boxes dial, and how this machine asks the planner.

    ``state_dir``: the planner's own, if it is on this machine: tokens are made there. Else by ``context``, as a person,
    out of the file ``contexts``.
    """

    address: str
    enrol: str = ""
    state_dir: str = ""
    context: str = ""
    contexts: str = ""
    insecure_loopback: bool = False
    token_ttl: str = "1h"
    circinus: str = "circinus"
    cloud_planner: str = "cloud-planner"


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One box: how to reach it and what it is to be. ``variables`` are keys of its agent.toml."""

    name: str
    address: str
    user: str
    port: int
    identity_file: str
    known_hosts: str
    become: str
    device: str
    site: str
    tier: str
    ring: int
    bundle: str
    package: str
    version: str
    python: str
    service: str
    prefix: str
    config_dir: str
    state_dir: str
    labels: Mapping[str, str]
    variables: Mapping[str, Any]

    def digest(self) -> str:
        """Of all that is asked for this box: another one means that its steps are done anew."""
        document = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return hashlib.sha256(json.dumps(document, sort_keys=True, default=str).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """All boxes, ordered by name."""

    path: Path
    planner: PlannerSpec
    hosts: tuple[Host, ...]


@dataclass(slots=True, kw_only=True)
class Selector:
    """Which boxes a command is about: all conditions hold."""

    only: Sequence[str] = ()
    rings: Sequence[int] = ()
    labels: Mapping[str, str] = field(default_factory=dict)

    def takes(self, host: Host) -> bool:
        """Whether a box is meant."""
        named = not self.only or any(
            fnmatch.fnmatchcase(name, one) for one in self.only for name in (host.name, host.device)
        )
        labelled = all(host.labels.get(key) == value for key, value in self.labels.items())
        return named and labelled and (not self.rings or host.ring in self.rings)


def load_inventory(path: Path) -> Inventory:
    """The inventory in a file; relative paths in it start at its folder.

    Raises:
        BadInventory: it can't be read or is wrong.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadInventory(str(path), [str(error)]) from error
    faults: list[str] = []
    planner = _planner(_Table(document.pop("planner", None), "planner", faults), path.resolve().parent)
    defaults = document.pop("defaults", {})
    entries = document.pop("hosts", {})
    faults.extend(f"{key}: is no known key; there are [planner], [defaults] and [hosts.NAME]" for key in document)
    hosts: list[Host] = []
    if not isinstance(defaults, dict):
        faults.append("defaults: must be a table: [defaults]")
        defaults = {}
    if not isinstance(entries, dict) or not entries:
        faults.append("hosts: there is none; add a table for each box: [hosts.NAME]")
        entries = {}
    if len(entries) > _MAX_HOSTS:
        faults.append(f"hosts: {len(entries)} of them; at most {_MAX_HOSTS} in one file")
    for name, entry in sorted(entries.items()):
        merged = _merged(defaults, entry) if isinstance(entry, dict) else entry
        hosts.append(_host(name, _Table(merged, f"hosts.{name}", faults), path.resolve().parent))
    faults.extend(_doubles(hosts))
    if faults:
        raise BadInventory(str(path), list(dict.fromkeys(faults)))
    return Inventory(path=path, planner=planner, hosts=tuple(hosts))


def _merged(defaults: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    """A host's own keys before the defaults; labels and variables one by one."""
    merged = {**defaults, **entry}
    for key in ("labels", "variables"):
        of_all, own = defaults.get(key, {}), entry.get(key, {})
        if isinstance(of_all, dict) and isinstance(own, dict):
            merged[key] = {**of_all, **own}
    return merged


def _doubles(hosts: Sequence[Host]) -> list[str]:
    seen: dict[str, str] = {}
    faults = []
    for host in hosts:
        if host.device in seen:
            faults.append(f"hosts.{host.name}.device: is {host.device!r}, which {seen[host.device]} is too")
        seen.setdefault(host.device, host.name)
    return faults


class _Table:
    """A table whose keys are taken out one by one; what is wrong with each is noted."""

    def __init__(self, values: Any, prefix: str, faults: list[str]) -> None:
        self._prefix, self._faults = prefix, faults
        if values is not None and not isinstance(values, dict):
            self._faults.append(f"{prefix}: must be a table: [{prefix}]")
        self._left = dict(values) if isinstance(values, dict) else {}

    def wrong(self, key: str, said: str) -> None:
        self._faults.append(f"{self._prefix}.{key}: {said}")

    def text(
        self, key: str, default: str = "", *, pattern: re.Pattern[str] | None = None, required: bool = False
    ) -> str:
        if required and key not in self._left:
            self.wrong(key, "is missing")
        value = self._left.pop(key, default)
        if not isinstance(value, str) or "\n" in value or "\0" in value:
            self.wrong(key, f"is {value!r}; it must be one line of text in quotes")
            return default
        if pattern is not None and value != default and not pattern.fullmatch(value):
            self.wrong(key, f"is {value!r}, which can't be one")
            return default
        return value

    def choice(self, key: str, default: str, choices: Sequence[str]) -> str:
        value = self.text(key, default)
        if value not in choices:
            self.wrong(key, f"is {value!r}; it must be one of {', '.join(choices)}")
            return default
        return value

    def integer(self, key: str, default: int, low: int, high: int) -> int:
        value = self._left.pop(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.wrong(key, f"is {value!r}; it must be a whole number from {low} to {high}")
            return default
        return value

    def flag(self, key: str) -> bool:
        value = self._left.pop(key, False)
        if not isinstance(value, bool):
            self.wrong(key, f"is {value!r}; it must be true or false")
            return False
        return value

    def table(self, key: str) -> dict[str, Any]:
        value = self._left.pop(key, {})
        if not isinstance(value, dict):
            self.wrong(key, f"is {value!r}; it must be a table")
            return {}
        for name in value:
            if not _KEY.fullmatch(name):
                self.wrong(key, f"has the key {name!r}; use letters, digits, _ and -")
        return value

    def end(self) -> None:
        for key in self._left:
            self.wrong(key, "is no known key")


def _planner(table: _Table, folder: Path) -> PlannerSpec:
    state_dir, contexts = table.text("state_dir"), table.text("contexts")
    spec = PlannerSpec(
        address=table.text("address", pattern=_ADDRESS, required=True),
        enrol=table.text("enrol", pattern=_ADDRESS),
        state_dir=str(folder / state_dir) if state_dir else "",
        context=table.text("context"),
        contexts=str(folder / Path(contexts).expanduser()) if contexts else "",
        insecure_loopback=table.flag("insecure_loopback"),
        token_ttl=table.text("token_ttl", "1h", pattern=_TTL),
        circinus=_command(table.text("circinus", "circinus"), folder),
        cloud_planner=_command(table.text("cloud_planner", "cloud-planner"), folder),
    )
    table.end()
    return spec


def _command(text: str, folder: Path) -> str:
    return str(folder / text) if "/" in text else text


def _host(name: str, table: _Table, folder: Path) -> Host:
    if not _NAME.fullmatch(name):
        table.wrong("", "the name must be of a-z 0-9 . _ -, with a letter or digit at both ends, at most 63")

    def path(key: str) -> str:
        text = table.text(key)
        return str(folder / Path(text).expanduser()) if text else ""

    labels = table.table("labels")
    for key, value in labels.items():
        if not isinstance(value, str) or not _LABEL.fullmatch(value):
            table.wrong(f"labels.{key}", f'is {value!r}; it must be text of letters, digits and _.-, such as "north"')
    variables = table.table("variables")
    for key in sorted(_RESERVED & set(variables)):
        table.wrong(f"variables.{key}", "is set by the inventory itself; use the host's own key")
    host = Host(
        name=name,
        address=table.text("address", name, pattern=_HOST),
        user=table.text("user", "root", pattern=_USER),
        port=table.integer("port", 22, 1, 65535),
        identity_file=path("identity_file"),
        known_hosts=path("known_hosts"),
        become=table.text("become"),
        device=table.text("device", name, pattern=_NAME),
        site=table.text("site", "default", pattern=_NAME),
        tier=table.choice("tier", "edge", _TIERS),
        ring=table.integer("ring", 0, 0, 1000),
        bundle=path("bundle"),
        package=table.text("package", "circinus"),
        version=table.text("version"),
        python=table.text("python"),
        service=table.choice("service", "auto", _SERVICES),
        prefix=table.text("prefix", "/opt/circinus"),
        config_dir=table.text("config_dir", "/etc/circinus"),
        state_dir=table.text("state_dir", "/var/lib/circinus"),
        labels=labels,
        variables=variables,
    )
    table.end()
    return host


def toml_value(value: Any) -> str:
    """A value as TOML in one line: tables and lists of tables are written inline.

    Raises:
        ValueError: TOML has no such value.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        # JSON's escapes are TOML's too, but for the one character that JSON leaves as it is.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return "[" + ", ".join(toml_value(entry) for entry in value) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {toml_value(entry)}" for key, entry in value.items()) + " }"
    raise ValueError(f"{value!r} is no text, number, flag, list or table")
