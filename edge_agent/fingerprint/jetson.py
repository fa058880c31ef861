"""NVIDIA's integrated boards, by the device tree: their NVML, if there is one, often tells nothing."""

from __future__ import annotations

from pathlib import Path

from circinus.model.device import Accelerator

#: One of these is there wherever the integrated GPU may be used.
_GPU_TRACES = ("dev/nvhost-gpu", "dev/nvgpu/igpu0/power", "dev/nvhost-ctrl-gpu", "dev/nvmap")
_MAX_MODEL_CHARS = 200


def read_jetson(root: Path = Path("/")) -> tuple[Accelerator, ...]:
    """The integrated GPU of a Tegra board, whose memory is the device's own; nothing where there is none."""
    tree = root / "proc/device-tree"
    if "nvidia,tegra" not in _text(tree / "compatible"):
        return ()
    if not any((root / trace).exists() for trace in _GPU_TRACES):
        return ()
    return (
        Accelerator(
            kind="cuda",
            model=_text(tree / "model")[:_MAX_MODEL_CHARS] or "unknown NVIDIA Jetson",
            provider="CUDAExecutionProvider",
            slots=1,
            memory_bytes=0,
            unified=True,
        ),
    )


def _text(file: Path) -> str:
    """A property of the device tree: texts that end in NUL."""
    try:
        text = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
    return "".join(character for character in text if character.isprintable()).strip()
