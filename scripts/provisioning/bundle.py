"""`scripts/offline-bundle`: one archive with all that a box needs that has no network.

    BUNDLE             facts, a line each: id, version, package, python, machine
    MANIFEST           SHA-256 of every other file, as sha256sum reads it
    install.sh         the installer that understands it
    agent/*.whl        circinus, all that it needs, and pip (Debian's Python has none)
    wheels/*.whl       what the operators' environments are built from; the agent's key `wheels` names such a folder
    pipelines.json     each pipeline's environment: its digest, its requirements, its wheels

The same wheels give the same bytes, so that a bundle is known by its digest.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_ID_DIGITS = 12


class BundleFailed(Exception):
    """A bundle can't be made; says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What the wheels are for. ``platforms`` empty: this machine, where what has no wheel is built."""

    python: str
    machine: str
    platforms: tuple[str, ...] = ()


def this_target() -> Target:
    """This interpreter on this machine."""
    return Target(python=f"{sys.version_info[0]}.{sys.version_info[1]}", machine=platform.machine())


def target_of(python: str, platforms: Sequence[str]) -> Target:
    """The target that the flags name.

    Raises:
        BundleFailed: the platforms are of several machines.
    """
    here = this_target()
    if not platforms:
        if python not in {"", here.python}:
            raise BundleFailed(f"wheels for Python {python} can't be made by {here.python}: name a --platform too")
        return here
    machines = {tag.split("_", 3)[-1] if tag.startswith("manylinux_") else tag.split("_", 1)[-1] for tag in platforms}
    if len(machines) != 1:
        raise BundleFailed(f"platforms of several machines ({', '.join(sorted(machines))}): make a bundle for each")
    return Target(python=python or here.python, machine=machines.pop(), platforms=tuple(platforms))


def make_bundle(
    output: Path,
    *,
    pipelines: Sequence[Path] = (),
    wheel: Path | None = None,
    target: Target | None = None,
    find_links: Sequence[Path] = (),
) -> str:
    """Writes a bundle and gives its SHA-256. ``wheel``: of circinus, if it is made already.

    Raises:
        BundleFailed: a wheel can't be had, or a pipeline is wrong.
    """
    target = target or this_target()
    with tempfile.TemporaryDirectory(prefix="circinus-bundle-") as scratch:
        folder = Path(scratch) / "bundle"
        agent, wheels = folder / "agent", folder / "wheels"
        agent.mkdir(parents=True)
        wheels.mkdir()
        own = _own_wheel(wheel, Path(scratch) / "own")
        _fetch([str(own), "pip"], agent, target, find_links)
        if not (agent / own.name).exists():
            shutil.copy2(own, agent / own.name)
        told = {}
        for pipeline in pipelines:
            name, digest, requirements = _environment(pipeline)
            mine = Path(scratch) / name
            mine.mkdir()
            if requirements:
                _fetch(requirements, mine, target, find_links)
            told[name] = {
                "environment": digest,
                "requirements": list(requirements),
                "wheels": sorted(path.name for path in mine.iterdir()),
            }
            for path in mine.iterdir():
                path.replace(wheels / path.name)
        shutil.copy2(ROOT / "scripts" / "install.sh", folder / "install.sh")
        (folder / "pipelines.json").write_text(json.dumps(told, indent=2, sort_keys=True) + "\n")
        return seal(folder, version=own.name.split("-")[1], target=target, output=output)


def seal(folder: Path, *, version: str, target: Target, output: Path) -> str:
    """Writes the facts and the manifest of a folder with all its files, and the archive; gives its SHA-256."""
    agent = folder / "agent"
    content = hashlib.sha256("".join(_lines(agent, agent)).encode()).hexdigest()
    facts = {
        "id": f"{version}-{content[:_ID_DIGITS]}",
        "version": version,
        "package": f"circinus=={version}",
        "python": target.python,
        "machine": target.machine,
    }
    (folder / "BUNDLE").write_text("".join(f"{key} {value}\n" for key, value in facts.items()))
    (folder / "MANIFEST").write_text("".join(_lines(folder, folder)))
    return _archive(folder, output)


def _own_wheel(wheel: Path | None, scratch: Path) -> Path:
    if wheel is not None:
        return wheel
    scratch.mkdir()
    _pip(["wheel", "--no-deps", "--wheel-dir", str(scratch), str(ROOT)])
    return next(scratch.glob("circinus-*.whl"))


def _fetch(requirements: Sequence[str], folder: Path, target: Target, find_links: Sequence[Path]) -> None:
    links = [argument for path in find_links for argument in ("--find-links", str(path))]
    if not target.platforms:
        _pip(["wheel", *links, "--wheel-dir", str(folder), "--", *requirements])
        return
    tags = [argument for tag in target.platforms for argument in ("--platform", tag)]
    python = ["--python-version", target.python, "--implementation", "cp", "--only-binary", ":all:"]
    _pip(["download", *links, *python, *tags, "--dest", str(folder), "--", *requirements])


def _pip(arguments: Sequence[str]) -> None:
    verb, *rest = arguments
    done = subprocess.run(
        [sys.executable, "-m", "pip", verb, "--quiet", "--disable-pip-version-check", "--no-input", *rest],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        last = "\n".join(done.stderr.strip().splitlines()[-3:])
        raise BundleFailed(
            f"pip {arguments[0]} failed: {last}\n-> look at the network and the names; what has no wheel for another "
            "platform is built there, by scripts/offline-bundle on such a machine"
        )


def _environment(folder: Path) -> tuple[str, str, tuple[str, ...]]:
    """A pipeline's name, the digest of its environment and what that requires."""
    sys.path.insert(0, str(ROOT / "shared"))
    from circinus.bundle import environment_digest
    from circinus.errors import CircinusError
    from circinus.spec.folder import load_pipeline

    try:
        pipeline = load_pipeline(folder)
    except CircinusError as error:
        raise BundleFailed(f"pipeline {folder}: {error}") from error
    return pipeline.id, environment_digest(pipeline.environment), pipeline.environment.python


def _lines(folder: Path, root: Path) -> Iterable[str]:
    """The lines of a manifest, ordered by path."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            yield f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.relative_to(root)}\n"


def _archive(folder: Path, output: Path) -> str:
    output.parent.mkdir(parents=True, exist_ok=True)
    part = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        # Wheels are compressed already.
        with tarfile.open(part, "w", format=tarfile.PAX_FORMAT) as archive:
            for path in sorted(folder.rglob("*")):
                archive.add(path, str(path.relative_to(folder)), recursive=False, filter=_plain)
        with part.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)
    return digest


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname = 0, 0, 0, "", ""
    entry.mode = 0o755 if entry.isdir() or entry.name == "install.sh" else 0o644
    return entry


def read_facts(bundle: Path) -> dict[str, str]:
    """The facts of a bundle.

    Raises:
        BundleFailed: it is none.
    """
    try:
        with tarfile.open(bundle, "r:") as archive:
            member = archive.extractfile("BUNDLE")
            text = member.read().decode() if member is not None else ""
    except (OSError, KeyError, tarfile.TarError) as error:
        raise BundleFailed(f"{bundle} is no bundle: {error}; make one with scripts/offline-bundle") from error
    return dict(line.split(" ", 1) for line in text.splitlines() if " " in line)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Exit codes: 0 made, 1 not."""
    parser = argparse.ArgumentParser(prog="offline-bundle", description="Makes an archive for boxes without a network.")
    parser.add_argument("--output", type=Path, default=Path("circinus-bundle.tar"), help="(%(default)s)")
    parser.add_argument(
        "--pipeline", type=Path, action="append", default=[], help="a pipeline's folder; may be repeated"
    )
    parser.add_argument("--wheel", type=Path, help="of circinus, instead of one made from this tree")
    parser.add_argument("--find-links", type=Path, action="append", default=[], help="a folder of more wheels")
    parser.add_argument("--python-version", default="", help="of the boxes, such as 3.11 (this one's)")
    parser.add_argument(
        "--platform", action="append", default=[], help="of the boxes, such as manylinux_2_28_aarch64 (this machine's)"
    )
    options = parser.parse_args(arguments)
    try:
        target = target_of(options.python_version, options.platform)
        digest = make_bundle(
            options.output,
            pipelines=options.pipeline,
            wheel=options.wheel,
            target=target,
            find_links=options.find_links,
        )
        facts = read_facts(options.output)
    except BundleFailed as error:
        print(f"offline-bundle: {error}", file=sys.stderr)
        return 1
    size_mb = options.output.stat().st_size / 1e6
    print(f"{options.output}: {size_mb:.1f} MB, version {facts['id']}, Python {facts['python']} on {facts['machine']}")
    print(f"sha256 {digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
