"""What a profile process is started with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileConfig:
    """A bundle's code and a content's samples.

    ``memory``: to probe memory instead of running samples. ``note``: where the process notes what it is at.
    """

    bundle: Path
    samples: Path
    note: Path
    speed_ratio: float
    providers: tuple[str, ...]
    memory: bool = False

    def write(self, path: Path) -> None:
        """Writes it where ``read`` finds it."""
        document: dict[str, Any] = {
            "bundle": str(self.bundle),
            "samples": str(self.samples),
            "note": str(self.note),
            "speed_ratio": self.speed_ratio,
            "providers": self.providers,
            "memory": self.memory,
        }
        path.write_text(json.dumps(document), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> ProfileConfig:
        """The configuration in a file that ``write`` wrote."""
        document = json.loads(path.read_text(encoding="utf-8"))
        return cls(
            bundle=Path(document["bundle"]),
            samples=Path(document["samples"]),
            note=Path(document["note"]),
            speed_ratio=float(document["speed_ratio"]),
            providers=tuple(document["providers"]),
            memory=bool(document["memory"]),
        )
