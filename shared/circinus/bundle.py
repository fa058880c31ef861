"""A bundle: the code of a pipeline and the environment it declares, as one archive with a digest.

The archive is a plain tar of regular files, the same bytes for the same folder: names sorted, no times, no owners.
Two files at its root are written here: ``environment.json`` (what the code needs) and ``pipeline.json`` (the DAG),
so that who runs a bundle needs no YAML.

Whoever extracts a bundle didn't pack it. ``tarfile``'s own filters changed between Python versions and let
directories, links and sparse files through; ``extract`` takes names and bytes from the headers and does the
rest itself, so that nothing but new regular files below a new folder can come of it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from circinus.errors import InvalidInput, TooLarge
from circinus.model.device import Digest
from circinus.model.pipeline import EnvironmentSpec, OperatorSpec, Pipeline

if TYPE_CHECKING:
    import tarfile

MAX_FILES = 2_000
MAX_BUNDLE_BYTES = 64 * 1024 * 1024
MAX_NAME_BYTES = 500
MAX_NAME_PARTS = 20
ENVIRONMENT_NAME = "environment.json"
PIPELINE_NAME = "pipeline.json"

#: What a folder has about its pipeline rather than of it, at its root: a change there is no change of the code.
LEFT_OUT = frozenset({"README.md", "pipeline.yaml", "queries.yaml", "fleet"})

#: A tar ends with two empty blocks.
_END_BYTES = 1_024


def digest_of(data: bytes) -> Digest:
    """The SHA-256 of these bytes: "sha256:" and 64 hexadecimal digits."""
    return Digest("sha256:" + hashlib.sha256(data).hexdigest())


def environment_json(spec: EnvironmentSpec) -> bytes:
    """What environment.json holds. The order in which requirements were written makes no difference."""
    return _canonical(
        {
            "debian": sorted(spec.debian),
            "executables": sorted(spec.executables),
            "libraries": sorted(spec.libraries),
            "python": sorted(spec.python),
        }
    )


def environment_digest(spec: EnvironmentSpec) -> Digest:
    """The digest of an environment: that of its environment.json."""
    return digest_of(environment_json(spec))


def pipeline_json(pipeline: Pipeline) -> bytes:
    """What pipeline.json holds: the DAG as whoever profiles it needs it."""
    return _canonical(
        {
            "id": pipeline.id,
            "source": pipeline.source,
            "scorer": pipeline.scorer,
            "operators": [_operator_json(operator) for operator in pipeline.operators],
            "outputs": list(pipeline.outputs),
        }
    )


def _operator_json(operator: OperatorSpec) -> dict[str, object]:
    return {
        "id": operator.id,
        "entry_point": operator.entry_point,
        "inputs": list(operator.inputs),
        "knobs": [{"name": knob.name, "values": list(knob.values)} for knob in operator.knobs],
        "state": operator.state.value,
        "hang_ms": operator.hang_ms,
        "fan_out": operator.fan_out,
        # Left out where it isn't so: bundles that were made before keep their digests.
        **({"each": True} if operator.each else {}),
        **({"accelerators": list(operator.accelerator_kinds)} if operator.accelerator_kinds else {}),
        **({"network": True} if operator.network else {}),
        **({"site_inputs": sorted(operator.site_inputs)} if operator.site_inputs else {}),
    }


def _canonical(value: object) -> bytes:
    return (json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True) + "\n").encode("ascii")


def pack_folder(folder: Path, pipeline: Pipeline) -> bytes:
    """The bundle of a folder: its regular files, without dot files, byte code and caches, and what LEFT_OUT names.

    Raises:
        InvalidInput: there is no such folder, or it has a symbolic link, a special file, or a name that can't travel.
        TooLarge: more than MAX_FILES files or MAX_BUNDLE_BYTES.
    """
    if not folder.is_dir():
        raise InvalidInput(f"{folder}: no such folder")
    files: dict[str, Path] = {}
    for path in _regular_files(folder, folder):
        name = path.relative_to(folder).as_posix()
        if name in (ENVIRONMENT_NAME, PIPELINE_NAME):
            raise InvalidInput(f"{path}: {name} is written by the packing itself; remove or rename yours")
        if reason := _bad_name(name):
            raise InvalidInput(f"{path}: {reason}; rename it")
        files[name] = path
        if len(files) > MAX_FILES:
            raise TooLarge(f"{folder}: more than {MAX_FILES:,} files; keep only what the operators need")
    # Here, not above: an agent without a bundle does without its memory.
    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:", format=tarfile.PAX_FORMAT) as archive:
        generated = {ENVIRONMENT_NAME: environment_json(pipeline.environment), PIPELINE_NAME: pipeline_json(pipeline)}
        for name in sorted([*files, *generated]):
            source = files.get(name)
            data = generated[name] if source is None else _read(source, MAX_BUNDLE_BYTES - buffer.tell(), folder)
            runnable = source is not None and bool(source.stat().st_mode & stat.S_IXUSR)
            member = tarfile.TarInfo(name)
            member.size = len(data)
            member.mode = 0o755 if runnable else 0o644
            archive.addfile(member, io.BytesIO(data))
    data = buffer.getvalue()
    if len(data) > MAX_BUNDLE_BYTES:
        raise TooLarge(_over_the_limit(folder))
    return data


def _over_the_limit(folder: Path) -> str:
    return f"{folder}: the bundle is over {MAX_BUNDLE_BYTES // 2**20} MiB; keep large models outside, or in a wheel"


def _read(path: Path, limit_bytes: int, folder: Path) -> bytes:
    # One byte more than allowed is enough to know, however large the file.
    with path.open("rb") as file:
        data = file.read(max(0, limit_bytes) + 1)
    if len(data) > limit_bytes:
        raise TooLarge(_over_the_limit(folder))
    return data


def _regular_files(folder: Path, root: Path) -> Iterator[Path]:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        path = Path(entry.path)
        if entry.name.startswith(".") or entry.name == "__pycache__" or entry.name.endswith(".pyc"):
            continue
        if folder == root and entry.name in LEFT_OUT:
            continue
        if entry.is_symlink():
            raise InvalidInput(f"{path}: a symbolic link; a bundle holds regular files only, copy what it points to")
        if entry.is_dir(follow_symlinks=False):
            yield from _regular_files(path, root)
        elif entry.is_file(follow_symlinks=False):
            yield path
        else:
            raise InvalidInput(f"{path}: neither a file nor a folder; a bundle holds regular files only")


def extract(data: bytes, into: Path) -> None:
    """Writes a bundle's files below ``into``, which must not exist yet. After an error nothing is left of it.

    Raises:
        InvalidInput: the archive is damaged, or has anything but regular files with plain names, each once.
        TooLarge: more than MAX_FILES files or MAX_BUNDLE_BYTES.
        FileExistsError: ``into`` exists.
    """
    if len(data) > MAX_BUNDLE_BYTES:
        raise TooLarge(f"bundle of {len(data):,} bytes; the limit is {MAX_BUNDLE_BYTES:,}")
    # All is checked before anything is written.
    members = _members(data)
    into.mkdir()
    try:
        for name, (mode, content) in members.items():
            path = into.joinpath(*name.split("/"))
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                # What the umask took off: equal bundles give equal folders.
                os.fchmod(descriptor, mode)
    except BaseException:
        shutil.rmtree(into, ignore_errors=True)
        raise


def _members(data: bytes) -> dict[str, tuple[int, bytes]]:
    """Mode and content of each file by name, with everything checked."""
    import tarfile

    members: dict[str, tuple[int, bytes]] = {}
    folders: set[str] = set()
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for member in archive:
                if len(members) >= MAX_FILES:
                    raise TooLarge(f"bundle has more than {MAX_FILES:,} files")
                name = _checked_name(member)
                if name in members or name in folders:
                    raise InvalidInput(f"bundle has {name!r} twice")
                parts = name.split("/")
                parents = ["/".join(parts[:count]) for count in range(1, len(parts))]
                if clash := next((parent for parent in parents if parent in members), None):
                    raise InvalidInput(f"bundle has {clash!r} as a file and as a folder")
                folders.update(parents)
                members[name] = (0o755 if member.mode & stat.S_IXUSR else 0o644, _content(archive, member))
            end = archive.offset
    except (tarfile.TarError, ValueError, OverflowError, EOFError, RecursionError, MemoryError) as error:
        raise InvalidInput(f"bundle is not a readable tar archive: {error}") from error
    # tarfile stops without a word at a header that it can't read.
    if data[end:].strip(b"\0") or len(data) < end + _END_BYTES:
        raise InvalidInput(f"bundle is damaged or cut off after {len(members)} files")
    if not members:
        raise InvalidInput("bundle has no files")
    return members


def _checked_name(member: tarfile.TarInfo) -> str:
    import tarfile

    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.sparse is not None:
        raise InvalidInput(f"bundle has {member.name[:200]!r}, which is no regular file")
    if reason := _bad_name(member.name):
        raise InvalidInput(f"bundle has the name {member.name[:200]!r}: {reason}")
    return member.name


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    content = b"" if file is None else file.read()
    if file is None or member.size < 0 or len(content) != member.size:
        raise InvalidInput(f"bundle is cut off in {member.name!r}")
    return content


def _bad_name(name: str) -> str:
    """Why a file's name can't be in a bundle; empty if it can."""
    try:
        encoded = name.encode("utf-8")
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    parts = name.split("/")
    if len(encoded) > MAX_NAME_BYTES or len(parts) > MAX_NAME_PARTS or any(len(part.encode()) > 255 for part in parts):
        return f"its name is over {MAX_NAME_BYTES} bytes, {MAX_NAME_PARTS} folders or 255 bytes in one part"
    if any(part in ("", ".", "..") for part in parts):
        return "its name has an empty part, '.' or '..', or begins with '/'"
    if "\\" in name or not name.isprintable():
        return "its name has a backslash or a character that can't be printed"
    return ""
