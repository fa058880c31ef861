"""What stands at the head of a backup: what is in it, of which version, and what each part must hash to."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from circinus.errors import BadDigest, CircinusError

FORMAT = 1
NAME = "manifest.json"
MAX_BYTES = 16 * 1024 * 1024
PLANNER_FILE = "planner.sqlite3"
IDENTITY_FILE = "identity/identity.sqlite3"
ROOT_FILE = "identity/root.pem"
#: Whoever has these is the planner, or its first admin.
KEY_FILES = ("identity/root.key", "identity/signer.key", "identity/signer.pem", "identity/admin.toml")
_PART = re.compile(
    r"planner\.sqlite3|identity/(identity\.sqlite3|root\.pem|root\.key|signer\.key|signer\.pem|admin\.toml)"
)
_BLOB = re.compile(r"blobs/([0-9a-f]{64})")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One file. Its name is its path below the state folder."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A backup as it says itself.

    ``schemas``: migration numbers by file (planner, identity). ``root_sha256``: of the planner's root certificate;
    empty: it has no identity. ``left_out``: blobs that were missing or damaged, and why.
    """

    made_at: datetime
    version: str
    host: str
    epoch: int
    generation: int
    schemas: Mapping[str, int]
    with_keys: bool
    root_sha256: str
    devices: int
    pipelines: int
    queries: int
    parts: tuple[Part, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def blobs(self) -> tuple[Part, ...]:
        """Bundles and sample sets."""
        return tuple(part for part in self.parts if _BLOB.fullmatch(part.name))

    @property
    def size_bytes(self) -> int:
        """All parts together, unpacked."""
        return sum(part.size_bytes for part in self.parts)

    def has(self, name: str) -> bool:
        """Whether a part is in it."""
        return any(part.name == name for part in self.parts)


def dump(manifest: Manifest) -> bytes:
    """The manifest's file."""
    document = asdict(manifest) | {"format": FORMAT, "made_at": manifest.made_at.isoformat()}
    return (json.dumps(document, indent=2, sort_keys=True) + "\n").encode()


def parse(data: bytes) -> Manifest:
    """The manifest of a file.

    Raises:
        CircinusError: it is of a newer Circinus.
        BadDigest: it is none, or damaged.
    """
    try:
        document: Any = json.loads(data)
        if document["format"] > FORMAT:
            raise CircinusError(
                f"the backup has format {document['format']}, this planner knows {FORMAT}: restore it with circinus "
                f"{document['version']} or newer"
            )
        parts = tuple(_part(one) for one in document["parts"])
        names = [part.name for part in parts]
        if len(set(names)) != len(names) or PLANNER_FILE not in names:
            raise ValueError("its parts are not those of a backup")
        return Manifest(
            made_at=datetime.fromisoformat(document["made_at"]),
            version=str(document["version"]),
            host=str(document["host"]),
            epoch=int(document["epoch"]),
            generation=int(document["generation"]),
            schemas={str(name): int(number) for name, number in document["schemas"].items()},
            with_keys=bool(document["with_keys"]),
            root_sha256=str(document["root_sha256"]),
            devices=int(document["devices"]),
            pipelines=int(document["pipelines"]),
            queries=int(document["queries"]),
            parts=parts,
            left_out={str(name): str(why) for name, why in document["left_out"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadDigest(f"the manifest of the backup can't be read ({error}): take another backup") from error


def _part(document: Any) -> Part:
    part = Part(name=str(document["name"]), size_bytes=int(document["size_bytes"]), sha256=str(document["sha256"]))
    blob = _BLOB.fullmatch(part.name)
    if not (blob or _PART.fullmatch(part.name)) or part.size_bytes < 0 or not _SHA256.fullmatch(part.sha256):
        raise ValueError(f"part {part.name[:80]!r} is none")
    # Blobs are named by what they hash to.
    if blob and blob.group(1) != part.sha256:
        raise ValueError(f"part {part.name} has the digest {part.sha256}")
    return part
