"""Static files, read once: each at an address with its digest in it, so that browsers keep it for good."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from types import MappingProxyType
from typing import TYPE_CHECKING

from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.requests import Request

_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One file, as it is and packed."""

    content: bytes
    packed: bytes
    media_type: str


class Assets:
    """The files of ``static`` that browsers load. ``addresses``: by their path there."""

    def __init__(self) -> None:
        self._files: dict[str, Asset] = {}
        addresses = {}
        for path, file in _walk(resources.files("cloud_planner.dashboard") / "static"):
            suffix = path[path.rfind(".") :]
            if suffix not in _TYPES:
                continue
            content = file.read_bytes()
            address = f"/static/{hashlib.sha256(content).hexdigest()[:12]}/{path}"
            addresses[path] = address
            self._files[address] = Asset(
                content=content, packed=gzip.compress(content, 9, mtime=0), media_type=_TYPES[suffix]
            )
        self.addresses: Mapping[str, str] = MappingProxyType(addresses)

    async def show(self, request: Request) -> Response:
        """A file; one that has changed since has another address."""
        asset = self._files.get(request.url.path)
        if asset is None:
            return Response("There is no such file.\n", 404, media_type="text/plain")
        headers = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
        if takes_gzip(request):
            return Response(asset.packed, media_type=asset.media_type, headers=headers | {"Content-Encoding": "gzip"})
        return Response(asset.content, media_type=asset.media_type, headers=headers)


def takes_gzip(request: Request) -> bool:
    """Whether an answer may be packed."""
    return "gzip" in request.headers.get("accept-encoding", "")


def _walk(folder: Traversable, at: str = "") -> Iterator[tuple[str, Traversable]]:
    for entry in sorted(folder.iterdir(), key=lambda one: one.name):
        path = f"{at}{entry.name}"
        if entry.is_dir():
            yield from _walk(entry, f"{path}/")
        else:
            yield path, entry


__all__ = ["Assets", "takes_gzip"]
