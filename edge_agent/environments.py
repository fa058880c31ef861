"""Environments: what a bundle's code needs, checked, and built once for each digest.

If the agent's own interpreter has all that is required, that is the environment. Else a virtual environment
is built from an index, or from an offline folder of wheels. An operator's process also needs ``circinus``,
``edge_agent``, protobuf and pynvml: those come from the agent's own installation, at the end of the environment's path,
so that whatever the bundle asks for goes first.

    STATE/environments.json      what is known of each environment
    STATE/environments/HEX/      a virtual environment; whole only if it has the file .complete
    STATE/runtime/               links to the packages that every process needs

Shared libraries and executables are only looked for: what is missing is reported, with the command to type.
"""

from __future__ import annotations

import asyncio
import ctypes.util
import importlib.util
import json
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google.protobuf

import circinus
import edge_agent
from circinus.bundle import environment_digest
from circinus.errors import CircinusError, InvalidInput, NotRunnable
from circinus.events import event, warning
from circinus.model.device import Digest, Environment
from circinus.model.pipeline import EnvironmentSpec
from edge_agent.blobs import Blobs
from edge_agent.child import run_child

_MAX_ENTRIES = 500
_MAX_ENVIRONMENTS = 200
_MAX_FILE_BYTES = 256 * 1024
#: A requirement, never an option of pip. Addresses are left to pip's own rules.
_REQUIREMENT = re.compile(r"[A-Za-z0-9][^\n\r]{0,299}")
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]{0,99}")
_CHECK_TIMEOUT_S = 60.0
_VENV_TIMEOUT_S = 180.0
_INSTALL_TIMEOUT_S = 1_800.0
#: Environments that are looked at side by side at a start: serving waits for it.
_LOOKED_AT_ONCE = 4
_PTH_NAME = "zz_circinus.pth"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of one environment; ``python`` is None unless it is ready."""

    environment: Environment
    spec: EnvironmentSpec
    python: Path | None


class Environments:
    """The environments that this device knows, ready or not."""

    def __init__(self, *, state_dir: Path, blobs: Blobs, wheels: Path | None, build: bool) -> None:
        self._state_dir = state_dir
        self._blobs = blobs
        self._wheels = wheels
        self._build = build
        self._known: dict[Digest, Known] = {}

    def known(self) -> tuple[Environment, ...]:
        """Every environment that was ever asked for, ordered by digest."""
        return tuple(self._known[digest].environment for digest in sorted(self._known))

    def python_for(self, digest: Digest) -> Path:
        """The interpreter of a ready environment.

        Raises:
            NotRunnable: it is unknown here or not ready.
        """
        known = self._known.get(digest)
        if known is None:
            raise NotRunnable(f"environment {digest} is unknown on this device: prepare it first")
        if known.python is None:
            raise NotRunnable(f"environment {digest} is not ready on this device: {known.environment.reason}")
        return known.python

    async def load(self) -> None:
        """Reads what was known at the last stop and looks whether it still holds."""
        try:
            document = json.loads((self._state_dir / "environments.json").read_text(encoding="utf-8"))
            specs = {Digest(str(entry["digest"])): _spec(entry["spec"]) for entry in document}
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, CircinusError) as error:
            # They are asked for again by whoever needs them.
            warning("environments_unreadable", reason=error)
            return
        # Nothing is installed at a start: what isn't whole is reported and made when it is asked for.
        at_once = asyncio.Semaphore(_LOOKED_AT_ONCE)

        async def look(digest: Digest, spec: EnvironmentSpec) -> None:
            async with at_once:
                self._known[digest] = await self._look(digest, spec, build=False)

        await asyncio.gather(*(look(digest, spec) for digest, spec in specs.items()))

    async def prepare(self, digest: Digest, bundle_digest: Digest) -> Environment:
        """Makes an environment ready, if that is possible here; built at most once.

        Raises:
            Unreachable, TimedOut: the bundle can't be fetched now.
        """
        try:
            folder = await self._blobs.bundle(bundle_digest)
            spec = await asyncio.to_thread(_read_spec, folder)
            found = environment_digest(spec)
            if found != digest:
                raise InvalidInput(f"bundle {bundle_digest} declares environment {found}, not {digest}")
        except (InvalidInput, NotRunnable) as error:
            return Environment(digest=digest, ready=False, reason=error.message)
        known = await self._look(digest, spec, build=self._build)
        if digest in self._known or len(self._known) < _MAX_ENVIRONMENTS:
            self._known[digest] = known
            try:
                await asyncio.to_thread(self._save)
            except OSError as error:
                # It is as ready as before; only a restart has to look again.
                warning("environments_not_noted", reason=error)
        event("environment_known", digest=digest, ready=known.environment.ready, reason=known.environment.reason)
        return known.environment

    def _save(self) -> None:
        document = [
            {"digest": digest, "spec": _document(known.spec), "ready": known.environment.ready}
            for digest, known in sorted(self._known.items())
        ]
        temporary = self._state_dir / "tmp-environments.json"
        temporary.write_text(json.dumps(document, indent=1), encoding="utf-8")
        temporary.rename(self._state_dir / "environments.json")

    async def _look(self, digest: Digest, spec: EnvironmentSpec, *, build: bool) -> Known:
        python: Path | None = None
        reason = await asyncio.to_thread(missing_system, spec)
        if not reason:
            python, reason = await self._python(digest, spec, build=build)
        environment = Environment(digest=digest, ready=python is not None, reason=reason)
        return Known(environment=environment, spec=spec, python=python)

    async def _python(self, digest: Digest, spec: EnvironmentSpec, *, build: bool) -> tuple[Path | None, str]:
        """The interpreter for these requirements, or why there is none."""
        folder = self._state_dir / "environments" / digest.removeprefix("sha256:")
        built = folder / "bin" / "python"
        if (folder / ".complete").is_file() and built.exists():
            reason = await _cannot_import(built)
            return (None, reason) if reason else (built, "")
        unmet = await _unmet(Path(sys.executable), spec.python)
        if not unmet:
            return Path(sys.executable), ""
        if not build:
            return None, f"not built, and the agent's own Python lacks {'; '.join(unmet)}"[:1_500]
        event("environment_building", digest=digest, requirements=len(spec.python))
        reason = await self._build_venv(folder, spec.python)
        return (None, reason) if reason else (built, "")

    async def _build_venv(self, folder: Path, requirements: Sequence[str]) -> str:
        """Builds a virtual environment in place; its last file says that it is whole. Gives the reason if it fails."""
        await asyncio.to_thread(shutil.rmtree, folder, True)
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        python = folder / "bin" / "python"
        # The agent's own pip can install elsewhere; that spares a copy of pip, and Debian's python3-venv.
        has_pip = importlib.util.find_spec("pip") is not None
        bare = ["--without-pip"] if has_pip else []
        made = await run_child([sys.executable, "-m", "venv", *bare, str(folder)], timeout_s=_VENV_TIMEOUT_S)
        if made.returncode != 0:
            said = made.last_lines or f"no answer within {_VENV_TIMEOUT_S:g} s"
            return f"python -m venv failed: {said}; on Debian: apt-get install python3-venv"
        pip = [sys.executable, "-m", "pip", "--python", str(python)] if has_pip else [str(python), "-m", "pip"]
        source = ["--no-index", "--find-links", str(self._wheels)] if self._wheels is not None else []
        install = [*pip, "install", "--no-input", "--disable-pip-version-check", "--quiet", *source]
        # After "--" nothing is taken for an option.
        done = await run_child([*install, "--", *requirements], timeout_s=_INSTALL_TIMEOUT_S, environment=os.environ)
        if done.returncode != 0:
            said = done.last_lines or f"no answer within {_INSTALL_TIMEOUT_S:g} s"
            return f"pip install failed{' from ' + str(self._wheels) if self._wheels else ''}: {said}"
        await asyncio.to_thread(self._add_runtime, folder)
        if reason := await _cannot_import(python):
            return reason
        (folder / ".complete").touch()
        return ""

    def _add_runtime(self, folder: Path) -> None:
        """Puts this installation's circinus, edge_agent, protobuf and pynvml at the end of an environment's path.

        Links to these packages alone, not to the folder that they are in: whatever else is installed beside the
        agent must not leak into the bundle's environment.
        """
        runtime = self._state_dir.resolve() / "runtime"
        protobuf = Path(google.protobuf.__file__).parent
        packages = {
            "circinus": Path(circinus.__file__).parent,
            "edge_agent": Path(edge_agent.__file__).parent,
            "google/protobuf": protobuf,
            # protobuf's compiled half.
            "google/_upb": protobuf.parent / "_upb",
            # What a profile asks for an operator's accelerator memory with.
            "pynvml.py": Path(nvml.origin)
            if (nvml := importlib.util.find_spec("pynvml")) and nvml.origin
            else runtime / "none",
        }
        for name, target in packages.items():
            link = runtime / name
            link.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            if target.exists():
                link.symlink_to(target.resolve())
        site = next((folder / "lib").glob("python*/site-packages"))
        (site / _PTH_NAME).write_text(f"{runtime}\n", encoding="utf-8")


def missing_system(spec: EnvironmentSpec) -> str:
    """What the operating system lacks for an environment and what to type; empty if nothing."""
    libraries = [name for name in spec.libraries if ctypes.util.find_library(name) is None]
    executables = [name for name in spec.executables if shutil.which(name) is None]
    parts = []
    if libraries:
        parts.append(f"missing shared libraries: {', '.join(libraries)}")
    if executables:
        parts.append(f"missing executables: {', '.join(executables)}")
    if parts and spec.debian:
        parts.append(f"install: apt-get install {' '.join(spec.debian)}")
    return "; ".join(parts)


async def _unmet(python: Path, requirements: Sequence[str]) -> list[str]:
    """The requirements that an interpreter's environment doesn't meet."""
    asked = json.dumps(list(requirements)).encode()
    done = await run_child([str(python), "-m", "edge_agent.requirements"], timeout_s=_CHECK_TIMEOUT_S, stdin=asked)
    try:
        answer = json.loads(done.output)
    except ValueError:
        answer = None
    if done.returncode != 0 or not isinstance(answer, list):
        return [f"its requirements can't be checked: {done.last_lines or 'no answer'}"]
    return [str(problem) for problem in answer]


async def _cannot_import(python: Path) -> str:
    """Why an operator's process can't run with this interpreter; empty if it can."""
    code = "import circinus.operator, circinus.payload, edge_agent.worker, edge_agent.profile_process"
    done = await run_child([str(python), "-c", code], timeout_s=_CHECK_TIMEOUT_S)
    return "" if done.returncode == 0 else f"{python} can't run operators: {done.last_lines or 'no answer'}"


def _read_spec(folder: Path) -> EnvironmentSpec:
    path = folder / "environment.json"
    if path.stat().st_size > _MAX_FILE_BYTES:
        raise InvalidInput(f"environment.json is over {_MAX_FILE_BYTES} bytes")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidInput(f"environment.json is damaged: {error}") from error
    return _spec(document)


def _spec(document: Any) -> EnvironmentSpec:
    if not isinstance(document, dict):
        raise InvalidInput("environment.json holds no object")
    return EnvironmentSpec(
        python=_texts(document, "python", _REQUIREMENT),
        libraries=_texts(document, "libraries", _PLAIN),
        executables=_texts(document, "executables", _PLAIN),
        debian=_texts(document, "debian", _PLAIN),
    )


def _texts(document: Mapping[str, Any], key: str, pattern: re.Pattern[str]) -> tuple[str, ...]:
    values = document.get(key, [])
    if not isinstance(values, list) or len(values) > _MAX_ENTRIES:
        raise InvalidInput(f"environment.json: {key} is no list of at most {_MAX_ENTRIES} texts")
    for value in values:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise InvalidInput(f"environment.json: {key} has {str(value)[:80]!r}, which can't be one")
    return tuple(values)


def _document(spec: EnvironmentSpec) -> dict[str, list[str]]:
    return {
        "python": list(spec.python),
        "libraries": list(spec.libraries),
        "executables": list(spec.executables),
        "debian": list(spec.debian),
    }
