"""Items that were looked at, as files: pictures as pictures, other arrays as numpy reads them, bytes as they are."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

from circinus.look_calls import TappedField, TappedItem

_PLAIN = re.compile(r"[^A-Za-z0-9._-]+")
_MAX_NAME_CHARS = 180
#: What files begin with, to their suffix.
_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpg"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
    (b"OggS", "ogg"),
    (b"fLaC", "flac"),
    (b"%PDF", "pdf"),
)
#: PNG's kinds of pixels by their number of bytes: grey, grey with alpha, RGB, RGB with alpha.
_PIXELS: Mapping[int, int] = {1: 0, 2: 4, 3: 2, 4: 6}
#: numpy's short names of types.
_TYPES: Mapping[str, str] = {
    "bool": "|b1",
    "uint8": "|u1",
    "int8": "|i1",
    **{f"uint{8 * size}": f"<u{size}" for size in (2, 4, 8)},
    **{f"int{8 * size}": f"<i{size}" for size in (2, 4, 8)},
    **{f"float{8 * size}": f"<f{size}" for size in (2, 4, 8)},
}


def save(item: TappedItem, folder: Path) -> list[Path]:
    """Writes the whole fields of an item; gives the files. An array of pixels is taken for a picture."""
    made: list[Path] = []
    for payload in item.payloads:
        for field in payload.fields:
            if not field.data:
                continue
            data, suffix = as_file(field)
            part = f"-{item.part}" if item.parts > 1 else ""
            name = f"{item.request_id}{part}-{item.operator_id}-{item.side}-{payload.name}-{field.name}"
            path = folder / f"{_PLAIN.sub('_', name).lstrip('.')[:_MAX_NAME_CHARS]}.{suffix}"
            path.write_bytes(data)
            made.append(path)
    return made


def as_file(field: TappedField) -> tuple[bytes, str]:
    """A field as the bytes of a file, and its suffix."""
    if field.type == "bytes":
        return field.data, _suffix(field.data)
    shape = field.shape
    depth = shape[2] if len(shape) == 3 else 1
    if field.type == "uint8" and len(shape) in (2, 3) and depth in _PIXELS and min(shape) > 0:
        return _png(field.data, shape[1], shape[0], depth), "png"
    if field.type in _TYPES:
        return _npy(field), "npy"
    return field.data, "bin"


def _suffix(data: bytes) -> str:
    if data[:4] == b"RIFF":
        return {b"WAVE": "wav", b"WEBP": "webp"}.get(data[8:12], "bin")
    return next((suffix for magic, suffix in _MAGIC if data.startswith(magic)), "bin")


def _png(data: bytes, width: int, height: int, depth: int) -> bytes:
    row_bytes = width * depth
    # Each row begins with its filter: none.
    rows = b"".join(b"\0" + data[at : at + row_bytes] for at in range(0, height * row_bytes, row_bytes))
    head = struct.pack(">IIBBBBB", width, height, 8, _PIXELS[depth], 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def _npy(field: TappedField) -> bytes:
    shape = ", ".join(str(extent) for extent in field.shape) + ("," if len(field.shape) == 1 else "")
    head = f"{{'descr': '{_TYPES[field.type]}', 'fortran_order': False, 'shape': ({shape}), }}"
    head += " " * (-(10 + len(head) + 1) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + field.data
