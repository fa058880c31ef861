"""Writes docs/config.md, the reference of the daemons' settings, from the code that reads them.

Usage: .venv/bin/python scripts/config_docs.py [--check]. With --check: fails if what is there differs.
Keys, defaults and limits come from the reader of the agent's file, which is run on an empty one; the words are here.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reference_page import table, write

from cloud_planner import command_line
from edge_agent import config, daemon

_HEAD = """\
# Settings

Written from the code by `scripts/config_docs.py`. [The pipeline's and the queries' files](pipeline-format.md) and the
commands of [`circinus`](cli.md) have pages of their own.

## The agent's file

TOML, read whole at the start: every mistake is reported at once, with its key, and `edge-agent check --config FILE`
says what else would keep the agent from working. Relative paths start at the file's folder. A key that is left out has
its default; *measured*: the box is asked. [run.md](run.md) has a file with all of it as an example.
"""
_PLANNER = """
## The planner

`cloud-planner run` is set by flags alone; all that must last is in its `--state-dir`.
"""
_VARIABLES = """
## Environment

| variable | read by | |
|---|---|---|
| `CIRCINUS_CONTEXT` | `circinus` | which of your [contexts](contexts.md) is used |
| `CIRCINUS_CONTEXTS` | `circinus` | where the file of contexts is, in place of the usual one |
| `CIRCINUS_PLANNER` | `circinus` | HOST:PORT of the planner, over the context's |
| `CIRCINUS_INSECURE_LOOPBACK` | `circinus` | 1: in the clear, on this machine only |
| `CIRCINUS_AGENT` | `circinus query results` | HOST:PORT of the device's ingress |
| `CIRCINUS_STATE_DIR` | `circinus backup`, `restore` | the planner's state folder |
| `CIRCINUS_DEBUG` | `circinus` | 1: a fault of circinus itself shows where it is |
| `CIRCINUS_TOKEN` | `edge-agent join` | the token, where no file is given |
| `NO_COLOR` | all | anything: no colours |
"""

#: What each key is for, by its table and name.
WORDS = {
    "device_id": "the box's name in plans and commands",
    "planner": "HOST:PORT of the planner",
    "enrol": "HOST:PORT where the box joins and renews; empty: the planner's host, the next port",
    "state_dir": "folder for identity, accepted directives, outbox, blobs and environments",
    "tier": "`edge` or `cloud`",
    "site": "devices of a site share their uplink",
    "data_listen": "HOST:PORT where peers may dial it; empty: it only dials out; port 0: any",
    "data_advertise": "HOST:PORT where peers really dial, such as a relay's; empty: where it listens",
    "ingress": "HOST:PORT where [callers and subscribers](ingress.md) dial; empty: nowhere",
    "price_per_h": "of the whole box",
    "device_class": "of [devices that share profiles](fingerprint.md)",
    "cores": "what plans may use",
    "memory_bytes": "what plans may use",
    "wheels": "folder of wheels from which environments are built, with no index",
    "build_environments": "false: run only what is installed already",
    "insecure_loopback": "no identity; all in the clear, on this machine only",
    "labels": "the box's own [labels](devices.md)",
    "emulation.speed_ratio": "below 1: play a box whose cores do so much of what this machine's do",
    "feeds.folders": "folders that [queries may read](ingress.md)",
    "feeds.cameras": "cameras that queries may read",
    "sinks.folders": "folders below which results may be written",
    "isolation.sandbox": "`none` or `bwrap`: what operators [run in](isolation.md) beside what always holds",
    "isolation.tasks": "processes and threads of one replica",
    "isolation.variables": "of the agent's environment, what operators see besides",
    "isolation.system_calls": "false: none is refused, and the network is open to operators",
    "policy.allowed_pipelines": "what the owner lets run here; empty: all ([policy](enrol.md))",
    "policy.max_cores": "of all serving processes together; 0: no limit",
    "policy.max_memory_bytes": "of all serving processes together; 0: no limit",
    "policy.data_stays": "pipelines whose items may not leave the site",
    "policy.tap": "`off`, `shapes` or `items`: what people may see of items that pass here",
    "policy.logs": "whether people may see what operators here print",
    "metrics_listen": "HOST:PORT where [metrics](metrics.md) are read; empty: nowhere",
    "traces.endpoint": "where [traces](metrics.md) go; empty: nowhere",
    "traces.ratio": "of the items, how many are traced",
    "traces.ca_file": "PEM of the roots that the endpoint is trusted by; empty: the system's",
    "links[].peer": "the device that this box can send to; one link for each",
    "links[].bandwidth_mbit_per_s": "0: unlimited",
    "links[].rtt_ms": "there and back",
    "links[].price_per_gb": "of what is sent",
    "links[].emulated": "shape the link to these figures",
    "accelerators[].kind": "such as `cuda`; those in the file are emulated, real ones are found",
    "accelerators[].model": "its name",
    "accelerators[].provider": "onnxruntime's name of what runs there",
    "accelerators[].slots": "replicas at a time",
    "accelerators[].memory_bytes": "0: not planned",
    "fingerprint.period_min": "how often the [fingerprint](fingerprint.md) is taken anew",
    "fingerprint.calibrate": "measure the speed score; by default on a box of its own, not beside emulated ones",
    "fingerprint.speed_score": "stands in for what would be measured",
    "fingerprint.cpu_model": "stands in for what the kernel says; empty: that",
    "fingerprint.accelerators": "false: look for none",
    "fingerprint.accelerator_slots": "replicas at a time on each that is found",
    "fingerprint.plug_ins": "false: ask none",
    "fingerprint.measure_links": "false: only what `[[links]]` says",
    "fingerprint.burst_hours": "a burst that measures a link is sent at most so often",
    "fingerprint.burst_kib": "its size; 0: none",
}
#: What a required text must be for the reader to go on.
_GIVEN = {"tier": "edge"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key of the agent's file, as the reader asks for it."""

    table: str
    name: str
    kind: str
    default: str
    limits: str = ""

    @property
    def path(self) -> str:
        """Its table and name."""
        return f"{self.table}.{self.name}" if self.table else self.name


class _Asked(config._Table):
    """A table that gives every default and notes what was asked for."""

    def __init__(self, found: dict[str, Key], name: str = "") -> None:
        super().__init__({}, "", [])
        self._found = found
        self._name = name
        self._measured: set[str] = set()

    def _note(self, key: str, kind: str, default: str, limits: str = "") -> None:
        measured = "measured" if key in self._measured else default
        entry = Key(table=self._name, name=key, kind=kind, default=measured, limits=limits)
        self._found.setdefault(entry.path, entry)

    def text(self, key: str, default: str = "", *, required: bool = False, **_: Any) -> str:
        self._note(key, "text", "must be given" if required else f'"{default}"')
        return _GIVEN.get(key, "x") if required else default

    def number(
        self, key: str, default: float, *, low: float, high: float, above: bool = False, required: bool = False
    ) -> float:
        limits = f"{'above' if above else 'at least'} {low:g}, at most {high:g}"
        self._note(key, "number", "must be given" if required else f"{default:g}", limits)
        return default

    def integer(self, key: str, default: int, *, low: int, high: int) -> int:
        self._note(key, "whole number", f"{default:,}", f"at least {low:,}, at most {high:,}")
        return default

    def texts(self, key: str, limit: int) -> tuple[str, ...]:
        self._note(key, "list of texts", "[]", f"at most {limit:,}")
        return ()

    def flag(self, key: str, default: bool) -> bool:
        self._note(key, "true or false", str(default).lower())
        return default

    def labels(self, key: str) -> dict[str, str]:
        self._note(key, "table of texts", "none")
        return {}

    def has(self, key: str) -> bool:
        self._measured.add(key)
        return True

    def table(self, key: str) -> _Asked:
        return _Asked(self._found, key)

    def tables(self, key: str, limit: int) -> list[Any]:
        return [_Asked(self._found, f"{key}[]")]

    def end(self) -> None:
        """Nothing was given, so nothing is left."""


def keys() -> list[Key]:
    """Every key of the agent's file.

    Raises:
        LookupError: the words don't go with the keys.
    """
    found: dict[str, Key] = {}
    config._config(_Asked(found), Path())
    if wrong := set(found) ^ set(WORDS):
        raise LookupError(f"scripts/config_docs.py: words without a key, or a key without words: {sorted(wrong)}")
    return list(found.values())


def _agent() -> Iterator[str]:
    by_table: dict[str, list[Key]] = {}
    for key in keys():
        by_table.setdefault(key.table, []).append(key)
    for name, entries in by_table.items():
        shown = f"[[{name[:-2]}]]" if name.endswith("[]") else f"[{name}]"
        yield f"\n### `{shown}`\n" if name else "\n### At the top\n"
        if name.endswith("[]"):
            yield "\nAny number of them.\n"
        rows = [
            (
                f"`{key.name}`",
                key.kind,
                key.default if key.default in ("measured", "must be given", "none") else f"`{key.default}`",
                f"{WORDS[key.path]}{f' ({key.limits})' if key.limits else ''}",
            )
            for key in entries
        ]
        yield table("key", "value", "default", "", rows=rows)


def _commands(parser: argparse.ArgumentParser, name: str) -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    """Each command below a parser: its whole name, what it is for, its parser."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for key, inner in action.choices.items():
                below = list(_commands(inner, f"{name} {key}"))
                yield from below or [(f"{name} {key}", helps.get(key, ""), inner)]


def _flags(parser: argparse.ArgumentParser) -> list[tuple[str, ...]]:
    rows = []
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        names = ", ".join(action.option_strings) or action.dest
        value = "" if action.nargs == 0 or not action.option_strings else f" {_value_name(action)}"
        said = ((action.help or "") % {"default": action.default}) if action.help else ""
        default = action.default if isinstance(action.default, str | int | float) else None
        if action.choices and default not in (None, ""):
            said = f"{said} ({default})" if str(default) not in said else said
        must = "must be given" if action.required else ""
        rows.append((f"`{names}{value}`", "; ".join(filter(None, (said.strip(), must)))))
    return rows


def _sentence(said: str) -> str:
    return f"{said[:1].upper()}{said[1:]}."


def _value_name(action: argparse.Action) -> str:
    if action.choices:
        return "|".join(map(str, action.choices))
    return str(action.metavar or action.dest.upper())


def page() -> str:
    """The whole page."""
    parts = [_HEAD, *_agent(), "\n## The agent's commands\n"]
    for name, said, parser in _commands(daemon._parser(), "edge-agent"):
        parts.append(f"\n### `{name}`\n\n{_sentence(said)}\n{table('flag', '', rows=_flags(parser))}")
    parts.append(_PLANNER)
    for name, said, parser in _commands(command_line._parser(), "cloud-planner"):
        parts.append(f"\n### `{name}`\n\n{_sentence(said)}\n{table('flag', '', rows=_flags(parser))}")
    return "".join([*parts, _VARIABLES])


if __name__ == "__main__":
    sys.exit(write("config.md", page()))
