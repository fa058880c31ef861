"""What was measured of links, kept over restarts: a box that starts again must not look as if its links had changed."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from circinus.events import warning
from circinus.model.device import DeviceId

_MAX_BYTES = 1024 * 1024
_MAX_RTT_MS = 6e4
_MAX_BIT_PER_S = 1e13


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkFigures:
    """None: not known."""

    rtt_ms: float | None = None
    bandwidth_bit_per_s: float | None = None


def read_links(file: Path) -> dict[DeviceId, LinkFigures]:
    """What is kept; nothing where there is no such file, or it is none."""
    try:
        if file.stat().st_size > _MAX_BYTES:
            return {}
        document = json.loads(file.read_text())
        return {
            DeviceId(str(peer)): LinkFigures(
                rtt_ms=_figure(entry.get("rtt_ms"), _MAX_RTT_MS),
                bandwidth_bit_per_s=_figure(entry.get("bandwidth_bit_per_s"), _MAX_BIT_PER_S),
            )
            for peer, entry in document.items()
        }
    except (OSError, ValueError, AttributeError):
        return {}


def keep_links(file: Path, links: Mapping[DeviceId, LinkFigures]) -> None:
    """Writes it down; a disk that takes nothing is said and borne."""
    document = {
        peer: {"rtt_ms": figures.rtt_ms, "bandwidth_bit_per_s": figures.bandwidth_bit_per_s}
        for peer, figures in sorted(links.items())
    }
    try:
        partial = file.with_name(f"{file.name}.{os.getpid()}")
        partial.write_text(json.dumps(document))
        partial.replace(file)
    except OSError as error:
        warning("links_not_kept", reason=error)


def _figure(value: object, most: float) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value) if 0.0 < value <= most else None
