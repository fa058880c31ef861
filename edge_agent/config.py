"""The agent's configuration file (TOML), read whole: every mistake is reported at once, with its key."""

from __future__ import annotations

import math
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from circinus.errors import InvalidInput, Violation
from circinus.model.device import Accelerator, DeviceClass, DeviceId, Link, SiteId, Tier
from circinus.model.label import labels_fault
from circinus.model.pipeline import PipelineId
from circinus.model.policy import ALLOW_ALL, Policy, Tap
from edge_agent.feeds.access import NOTHING, Access
from edge_agent.fingerprint.settings import FingerprintSettings
from edge_agent.isolation.config import REFUSED_VARIABLES, USUAL, VARIABLE, IsolationConfig, SandboxKind
from edge_agent.tracing.settings import NO_TRACES, TracesConfig, endpoint_fault

_ID = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")
_ADDRESS = re.compile(r"[^\s:]+:\d{1,5}|\[[0-9a-f:]+\]:\d{1,5}")
_CLASS = re.compile(r"[a-z0-9][a-z0-9./_-]{0,199}")
_MAX_FILE_BYTES = 256 * 1024
_MAX_LINKS = 1_000
_MAX_ACCELERATORS = 64
_BIT_PER_MBIT = 1_000_000
#: Of folders and cameras, each.
_MAX_OPENED = 64
_MAX_PIPELINES = 1_000
_MAX_VARIABLES = 100
_MAX_PORT = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """What a person says of a box; whatever is None is measured.

    ``data_listen`` empty: the data plane only dials. ``data_advertise``: where peers reach it, if not there (a relay).
    ``speed_ratio`` below 1 makes the device emulated.
    ``wheels``: a folder of wheels that environments are built from, without an index. ``ingress`` is where callers and
    subscribers dial; empty: nowhere. ``access`` is what queries may open; by default nothing.
    ``insecure_loopback``: no identity, all connections in the clear and on this machine. ``enrol`` is where the planner
    gives and renews certificates. ``policy`` is what the owner of the box allows. ``labels`` are the box's own ones.
    ``metrics_listen`` is where Prometheus finds the agent's figures; empty: nowhere. ``traces``: of items.
    """

    device_id: DeviceId
    planner: str
    state_dir: Path
    tier: Tier
    site: SiteId
    data_listen: str = "127.0.0.1:0"
    data_advertise: str = ""
    price_per_h: float = 0.0
    device_class: DeviceClass | None = None
    cores: float | None = None
    memory_bytes: int | None = None
    speed_ratio: float = 1.0
    links: tuple[Link, ...] = ()
    accelerators: tuple[Accelerator, ...] = ()
    wheels: Path | None = None
    build_environments: bool = True
    ingress: str = ""
    access: Access = NOTHING
    isolation: IsolationConfig = USUAL
    insecure_loopback: bool = False
    enrol: str = ""
    policy: Policy = ALLOW_ALL
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    fingerprint: FingerprintSettings = field(default_factory=FingerprintSettings)
    metrics_listen: str = ""
    traces: TracesConfig = NO_TRACES

    @property
    def identity_dir(self) -> Path:
        """Where the box keeps who it is."""
        return self.state_dir / "identity"


def load_config(path: Path) -> AgentConfig:
    """The configuration in a file. Relative paths in it start at its folder.

    Raises:
        InvalidInput: the file can't be read or is wrong; its violations name every wrong key.
    """
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise InvalidInput(f"{path} is larger than {_MAX_FILE_BYTES} bytes: that is no agent's configuration")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"can't read {path}: {error}") from error
    return parse_config(text, filename=str(path), folder=path.resolve().parent)


def parse_config(text: str, *, filename: str = "agent.toml", folder: Path = Path()) -> AgentConfig:
    """The configuration in a text.

    Raises:
        InvalidInput: it is wrong; its violations name every wrong key.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"{filename} is not TOML: {error}") from error
    top = _Table(document, "", [])
    config = _config(top, folder)
    if top.violations or config is None:
        listed = "; ".join(str(violation) for violation in top.violations)
        raise InvalidInput(f"{filename}: {listed}", tuple(top.violations))
    return config


class _Table:
    """A TOML table that takes its keys out one by one and notes what is wrong with each."""

    def __init__(self, values: Mapping[str, Any], prefix: str, violations: list[Violation]) -> None:
        self._left = dict(values)
        self._prefix = prefix
        self.violations = violations

    def wrong(self, key: str, message: str) -> None:
        self.violations.append(Violation(field=self._prefix + key, message=message))

    def _take(self, key: str, default: Any, required: bool) -> Any:
        if key not in self._left:
            if required:
                self.wrong(key, "is missing")
            return default
        return self._left.pop(key)

    def text(
        self, key: str, default: str = "", *, required: bool = False, pattern: re.Pattern[str] | None = None
    ) -> str:
        value = self._take(key, default, required)
        if not isinstance(value, str):
            self.wrong(key, f"is {value!r}; it must be text in quotes")
            return default
        if pattern is not None and value != default and not pattern.fullmatch(value):
            self.wrong(key, f"is {value!r}; use a-z 0-9 . _ - only, with a letter or digit at both ends, at most 63")
        return value

    def number(
        self, key: str, default: float, *, low: float, high: float, above: bool = False, required: bool = False
    ) -> float:
        value = self._take(key, default, required)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            self.wrong(key, f"is {value!r}; it must be a number")
            return default
        if value < low or value > high or (above and value == low):
            self.wrong(key, f"is {value:g}; it must be {'above' if above else 'at least'} {low:g} and at most {high:g}")
            return default
        return float(value)

    def integer(self, key: str, default: int, *, low: int, high: int) -> int:
        value = self._take(key, default, False)
        if isinstance(value, bool) or not isinstance(value, int):
            self.wrong(key, f"is {value!r}; it must be a whole number")
            return default
        if not low <= value <= high:
            self.wrong(key, f"is {value}; it must be at least {low} and at most {high}")
            return default
        return value

    def texts(self, key: str, limit: int) -> tuple[str, ...]:
        value = self._take(key, [], False)
        if not isinstance(value, list) or not all(isinstance(entry, str) and entry for entry in value):
            self.wrong(key, f"is {value!r}; it must be a list of texts in quotes")
            return ()
        if len(value) > limit:
            self.wrong(key, f"has {len(value)} entries; at most {limit} are allowed")
            return ()
        return tuple(value)

    def flag(self, key: str, default: bool) -> bool:
        value = self._take(key, default, False)
        if not isinstance(value, bool):
            self.wrong(key, f"is {value!r}; it must be true or false")
            return default
        return value

    def labels(self, key: str) -> dict[str, str]:
        value = self._take(key, {}, False)
        if not isinstance(value, dict) or not all(isinstance(entry, str) for entry in value.values()):
            self.wrong(key, f'is {value!r}; it must be a table of texts: [{key}] and lines such as zone = "a"')
            return {}
        if fault := labels_fault(value):
            self.wrong(key, fault)
        return dict(sorted(value.items()))

    def has(self, key: str) -> bool:
        return key in self._left

    def table(self, key: str) -> _Table:
        value = self._take(key, {}, False)
        if not isinstance(value, dict):
            self.wrong(key, f"is {value!r}; it must be a table: [{key}]")
            value = {}
        return _Table(value, f"{self._prefix}{key}.", self.violations)

    def tables(self, key: str, limit: int) -> list[_Table]:
        value = self._take(key, [], False)
        if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
            self.wrong(key, f"must be a list of tables: [[{key}]]")
            return []
        if len(value) > limit:
            self.wrong(key, f"has {len(value)} entries; at most {limit} are allowed")
            return []
        return [_Table(entry, f"{self._prefix}{key}[{index}].", self.violations) for index, entry in enumerate(value)]

    def end(self) -> None:
        """Whatever nobody took is unknown."""
        for key in self._left:
            self.wrong(key, "is no known key")


def _config(top: _Table, folder: Path) -> AgentConfig | None:
    device_id = DeviceId(top.text("device_id", required=True, pattern=_ID))
    planner = _address(top, "planner", "127.0.0.1:7400")
    state_dir = top.text("state_dir", required=True)
    tier = top.text("tier", required=True)
    if tier not in {"", *Tier}:
        top.wrong("tier", f"is {tier!r}; it must be one of {', '.join(Tier)}")
    site = top.text("site", "default", pattern=_ID)
    data_listen = _address(top, "data_listen", "127.0.0.1:0", empty=True)
    data_advertise = _address(top, "data_advertise", "", empty=True)
    price_per_h = top.number("price_per_h", 0.0, low=0.0, high=1e6)
    device_class = top.text("device_class", pattern=_CLASS)
    cores = top.number("cores", 1.0, low=0.0, high=4096.0, above=True) if top.has("cores") else None
    memory_bytes = top.integer("memory_bytes", 1, low=1, high=2**50) if top.has("memory_bytes") else None
    emulation = top.table("emulation")
    speed_ratio = emulation.number("speed_ratio", 1.0, low=0.0, high=1.0, above=True)
    emulation.end()
    links, unsaid = _links(top)
    accelerators = tuple(_accelerator(entry) for entry in top.tables("accelerators", _MAX_ACCELERATORS))
    wheels = top.text("wheels")
    if wheels and not (folder / wheels).is_dir():
        top.wrong("wheels", f"is {wheels!r}; there is no such folder")
    build_environments = top.flag("build_environments", True)
    ingress = _address(top, "ingress", "", empty=True)
    access = _access(top, folder)
    isolation = _isolation(top.table("isolation"))
    insecure_loopback = top.flag("insecure_loopback", False)
    enrol = _address(top, "enrol", "", empty=True)
    policy = _policy(top.table("policy"))
    labels = top.labels("labels")
    # Devices that are emulated beside others on one machine all have its speed.
    alone = not insecure_loopback and speed_ratio == 1.0 and not accelerators
    fingerprint = _fingerprint(top.table("fingerprint"), unsaid, calibrate=alone)
    metrics_listen = _address(top, "metrics_listen", "", empty=True)
    traces = _traces(top.table("traces"), folder)
    top.end()
    if top.violations:
        return None
    return AgentConfig(
        device_id=device_id,
        planner=planner,
        state_dir=folder / state_dir,
        tier=Tier(tier),
        site=SiteId(site),
        data_listen=data_listen,
        data_advertise=data_advertise,
        price_per_h=price_per_h,
        device_class=DeviceClass(device_class) if device_class else None,
        cores=cores,
        memory_bytes=memory_bytes,
        speed_ratio=speed_ratio,
        links=links,
        accelerators=accelerators,
        wheels=folder / wheels if wheels else None,
        build_environments=build_environments,
        ingress=ingress,
        access=access,
        isolation=isolation,
        insecure_loopback=insecure_loopback,
        enrol=enrol or _next_port(planner),
        policy=policy,
        labels=labels,
        fingerprint=fingerprint,
        metrics_listen=metrics_listen,
        traces=traces,
    )


def _traces(table: _Table, folder: Path) -> TracesConfig:
    endpoint, ca_file = table.text("endpoint"), table.text("ca_file")
    if fault := endpoint_fault(endpoint):
        table.wrong("endpoint", fault)
    traces = TracesConfig(
        endpoint=endpoint,
        ratio=table.number("ratio", 0.0, low=0.0, high=1.0),
        ca_file=folder / ca_file if ca_file else None,
    )
    table.end()
    return traces


def _next_port(planner: str) -> str:
    """The planner's second port, where it was not told another one."""
    host, _, port = planner.rpartition(":")
    return f"{host}:{min(int(port) + 1, _MAX_PORT)}"


def _isolation(table: _Table) -> IsolationConfig:
    sandbox = table.text("sandbox", SandboxKind.NONE)
    if sandbox not in set(SandboxKind):
        table.wrong("sandbox", f"is {sandbox!r}; it must be one of {', '.join(SandboxKind)}")
        sandbox = SandboxKind.NONE
    variables = table.texts("variables", _MAX_VARIABLES)
    for name in variables:
        if not VARIABLE.fullmatch(name) or name in REFUSED_VARIABLES:
            table.wrong("variables", f"has {name!r}, which operators can't be given")
    isolation = IsolationConfig(
        sandbox=SandboxKind(sandbox),
        tasks=table.integer("tasks", USUAL.tasks, low=16, high=1_000_000),
        variables=variables,
        system_calls=table.flag("system_calls", True),
    )
    table.end()
    return isolation


def _policy(table: _Table) -> Policy:
    tap = table.text("tap", Tap.SHAPES)
    if tap not in set(Tap):
        table.wrong("tap", f"is {tap!r}; it must be one of {', '.join(Tap)}")
        tap = Tap.SHAPES
    policy = Policy(
        allowed_pipelines=_pipelines(table, "allowed_pipelines"),
        max_cores=table.number("max_cores", 0.0, low=0.0, high=4096.0),
        max_memory_bytes=table.integer("max_memory_bytes", 0, low=0, high=2**50),
        data_stays=_pipelines(table, "data_stays"),
        tap=Tap(tap),
        logs=table.flag("logs", True),
    )
    table.end()
    return policy


def _pipelines(table: _Table, key: str) -> tuple[PipelineId, ...]:
    names = table.texts(key, _MAX_PIPELINES)
    for name in names:
        if not _ID.fullmatch(name):
            table.wrong(key, f"has {name!r}, which is no pipeline's id")
    return tuple(PipelineId(name) for name in names)


def _access(top: _Table, folder: Path) -> Access:
    feeds, sinks = top.table("feeds"), top.table("sinks")
    access = Access(
        folders=_folders(feeds, folder),
        cameras=feeds.texts("cameras", _MAX_OPENED),
        sink_folders=_folders(sinks, folder),
    )
    feeds.end()
    sinks.end()
    return access


def _folders(table: _Table, folder: Path) -> tuple[str, ...]:
    """Absolute paths. They need not be there yet: a disk may be mounted later."""
    found = tuple(os.path.normpath(folder.absolute() / entry) for entry in table.texts("folders", _MAX_OPENED))
    if "/" in found:
        table.wrong("folders", "has /, which is everything; name the folders that queries may use")
    return found


def _address(top: _Table, key: str, default: str, *, empty: bool = False) -> str:
    address = top.text(key, default)
    if not _ADDRESS.fullmatch(address) and not (empty and not address):
        top.wrong(key, f"is {address!r}; it must be HOST:PORT, such as {default or '127.0.0.1:7410'}")
    return address


def _fingerprint(table: _Table, unsaid: Mapping[str, frozenset[DeviceId]], *, calibrate: bool) -> FingerprintSettings:
    measures = table.flag("measure_links", True)
    settings = FingerprintSettings(
        period_s=60.0 * table.number("period_min", 5.0, low=0.0, high=1440.0, above=True),
        calibrate=table.flag("calibrate", calibrate),
        speed_score=table.number("speed_score", 1.0, low=1e-3, high=1e3) if table.has("speed_score") else None,
        cpu_model=table.text("cpu_model"),
        accelerators=table.flag("accelerators", True),
        slots=table.integer("accelerator_slots", 1, low=1, high=1024),
        plug_ins=table.flag("plug_ins", True),
        rtt_of=unsaid["rtt_ms"] if measures else frozenset(),
        bandwidth_of=unsaid["bandwidth_mbit_per_s"] if measures else frozenset(),
        burst_s=3600.0 * table.number("burst_hours", 6.0, low=1.0, high=8760.0),
        burst_bytes=1024 * table.integer("burst_kib", 1024, low=0, high=16 * 1024),
    )
    table.end()
    return settings


def _links(top: _Table) -> tuple[tuple[Link, ...], dict[str, frozenset[DeviceId]]]:
    """The links, and for each key of a link the peers of which nothing is said there, so that it is measured."""
    links: list[Link] = []
    keys = ("rtt_ms", "bandwidth_mbit_per_s")
    unsaid: dict[str, set[DeviceId]] = {key: set() for key in keys}
    for entry in top.tables("links", _MAX_LINKS):
        peer = entry.text("peer", required=True, pattern=_ID)
        if any(link.peer == peer for link in links):
            entry.wrong("peer", f"is {peer!r}, which another link names too; one link for each peer")
        silent = [key for key in keys if not entry.has(key)]
        bandwidth_mbit_per_s = entry.number("bandwidth_mbit_per_s", 0.0, low=0.0, high=1e7)
        links.append(
            Link(
                peer=DeviceId(peer),
                bandwidth_bit_per_s=round(bandwidth_mbit_per_s * _BIT_PER_MBIT),
                rtt_ms=entry.number("rtt_ms", 0.0, low=0.0, high=60_000.0),
                price_per_gb=entry.number("price_per_gb", 0.0, low=0.0, high=1e6),
                emulated=entry.flag("emulated", False),
            )
        )
        entry.end()
        if not links[-1].emulated:
            for key in silent:
                unsaid[key].add(links[-1].peer)
    return tuple(links), {key: frozenset(peers) for key, peers in unsaid.items()}


def _accelerator(entry: _Table) -> Accelerator:
    # Real ones are found by the fingerprint; whatever stands in the file is emulated.
    accelerator = Accelerator(
        kind=entry.text("kind", required=True, pattern=_ID),
        model=entry.text("model", "emulated"),
        provider=entry.text("provider", "CPUExecutionProvider"),
        slots=entry.integer("slots", 1, low=1, high=1024),
        memory_bytes=entry.integer("memory_bytes", 0, low=0, high=2**50),
        emulated=True,
    )
    entry.end()
    return accelerator
