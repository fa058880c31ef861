"""The accelerators of this box: NVIDIA's, those of plug-ins, and what the configuration makes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from circinus.model.device import Accelerator
from edge_agent.fingerprint.asking import Answer
from edge_agent.fingerprint.jetson import read_jetson
from edge_agent.fingerprint.nvidia import ask_nvidia
from edge_agent.fingerprint.plug_ins import ask_plug_ins, plug_ins

_CPU_PROVIDER = "CPUExecutionProvider"

Ask = Callable[[], Answer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """``unknown``: what could not be told, and why. ``throttled``: of any of them; None: nobody tells."""

    accelerators: tuple[Accelerator, ...] = ()
    unknown: tuple[str, ...] = ()
    throttled: bool | None = None


class Finder:
    """Asks each driver; one that does not answer for once is taken to have what it had."""

    def __init__(self, asks: Sequence[tuple[str, Ask]] | None = None, *, with_plug_ins: bool = True) -> None:
        self._asks = tuple(asks) if asks is not None else _asks(with_plug_ins)
        self._known: dict[str, tuple[Accelerator, ...]] = {}

    def find(self, device_memory_bytes: int, slots: int = 1) -> Found:
        """What there is now. Blocks for as long as drivers take to answer.

        Args:
            device_memory_bytes: Main memory: that of unified accelerators.
            slots: Of each accelerator whose driver names no number.
        """
        found: list[Accelerator] = []
        unknown: list[str] = []
        throttled: list[bool] = []
        for name, one in self._asks:
            answer = one()
            if not answer.unknown:
                self._known[name] = answer.accelerators
            else:
                unknown.append(f"{name}: {answer.unknown}")
            found.extend(self._known.get(name, answer.accelerators))
            if answer.throttled is not None:
                throttled.append(answer.throttled)
        return Found(
            accelerators=tuple(_settled(accelerator, device_memory_bytes, slots) for accelerator in found),
            unknown=tuple(unknown),
            throttled=any(throttled) if throttled else None,
        )


def providers_of(accelerators: Sequence[Accelerator]) -> tuple[str, ...]:
    """What onnxruntime runs on, best first; the CPU last. An emulated one has a provider only if it was given one."""
    found = dict.fromkeys(one.provider for one in accelerators if one.provider not in ("", _CPU_PROVIDER))
    return (*found, _CPU_PROVIDER)


def _asks(with_plug_ins: bool) -> tuple[tuple[str, Ask], ...]:
    names = plug_ins() if with_plug_ins else ()
    asks: list[tuple[str, Ask]] = [("nvidia", _nvidia)]
    asks.extend((f"plug-in {name}", lambda name=name: ask_plug_ins((name,))[name]) for name in names)  # type: ignore[misc]  # a lambda's default has no type
    return tuple(asks)


def _nvidia() -> Answer:
    """NVML's word, and where it tells of nothing, the board's."""
    answer = ask_nvidia()
    board = () if answer.accelerators else read_jetson()
    return replace(answer, accelerators=board, unknown="") if board else answer


def _settled(accelerator: Accelerator, device_memory_bytes: int, slots: int) -> Accelerator:
    settled = replace(accelerator, slots=slots) if accelerator.slots == 1 else accelerator
    return replace(settled, memory_bytes=device_memory_bytes) if settled.unified else settled
