"""The steps from a few seconds of sound to the minutes: resample, segment, transcribe, extract."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from minutes import actions_in, keywords_in
from segments import open_detector, speech_span
from signals import RATE_HZ, resampled, samples
from transcriber import Transcriber

from circinus.operator import Operator, Payload

#: Longer recordings are refused.
MAX_SECONDS = 60

RATES_HZ = (8_000, 16_000)


def sound(payload: Payload) -> tuple[np.ndarray, int]:
    """The payload's ``audio``, samples of 16 bits, and how many of them make a second.

    Raises:
        ValueError: it has none, or at a rate that nothing here works with.
    """
    audio, rate_hz = payload.get("audio"), payload.get("rate")
    if not isinstance(audio, np.ndarray) or audio.ndim != 1 or audio.dtype != np.int16:
        raise ValueError("the payload has no sound: its field audio must be an array of int16, one-dimensional")
    if rate_hz not in RATES_HZ:
        raise ValueError(f"rate is {rate_hz!r}; it must be one of {', '.join(map(str, RATES_HZ))}")
    if audio.size > MAX_SECONDS * int(rate_hz):
        raise ValueError(f"the sound is {audio.size / int(rate_hz):.0f} s long; at most {MAX_SECONDS} s are heard")
    return audio, int(rate_hz)


def at_rate(audio: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    """Samples of 16 bits at another rate."""
    return audio if from_hz == to_hz else samples(resampled(audio.astype(np.float64), from_hz, to_hz))


class Resample(Operator):
    """Brings sound to ``rate``: half of it is half the bytes, and no high notes. In and out: ``audio``, ``rate``."""

    def setup(self) -> None:
        """Takes the knob ``rate``."""
        self._rate_hz = int(self.knobs["rate"])
        if self._rate_hz not in RATES_HZ:
            raise ValueError(f"rate is {self._rate_hz}; there are {', '.join(map(str, RATES_HZ))}")

    def process(self, inputs: Mapping[str, Payload]) -> Payload:
        """The sound at the rate."""
        (payload,) = inputs.values()
        audio, rate_hz = sound(payload)
        return {"audio": at_rate(audio, rate_hz, self._rate_hz), "rate": self._rate_hz}


class Segment(Operator):
    """Cuts a recording to where somebody speaks. In and out: ``audio``, ``rate``; no samples where nobody does."""

    def setup(self) -> None:
        """Loads the detector that the knob ``vad`` names."""
        self._detector = open_detector(str(self.knobs["vad"]), self.context)

    def process(self, inputs: Mapping[str, Payload]) -> Payload:
        """The part from the first word to the last."""
        (payload,) = inputs.values()
        audio, rate_hz = sound(payload)
        if self._detector is None:
            return {"audio": audio, "rate": rate_hz}
        begin, end = speech_span(self._detector.activity(audio, rate_hz), rate_hz, audio.size)
        return {"audio": audio[begin:end], "rate": rate_hz}


class Transcribe(Operator):
    """Writes down what is said. In: ``audio``, ``rate``; out: ``text``, in lower case."""

    def setup(self) -> None:
        """Makes a recogniser for each rate, as the knobs ``lm``, ``acoustics`` and ``search`` say."""
        model, acoustics, search = (str(self.knobs[name]) for name in ("lm", "acoustics", "search"))
        self._transcribers = {rate_hz: Transcriber(model, search, f"{rate_hz}-{acoustics}") for rate_hz in RATES_HZ}

    def process(self, inputs: Mapping[str, Payload]) -> Payload:
        """The words."""
        (payload,) = inputs.values()
        audio, rate_hz = sound(payload)
        return {"text": self._transcribers[rate_hz].text(at_rate(audio, rate_hz, RATE_HZ))}


class Extract(Operator):
    """Draws the minutes. In: ``text``; out: ``text``, ``keywords`` and ``actions``, each in a line of its own."""

    def process(self, inputs: Mapping[str, Payload]) -> Payload:
        """What was said, what it was about, and who is to do what."""
        (payload,) = inputs.values()
        text = str(payload["text"])
        return {"text": text, "keywords": "\n".join(keywords_in(text)), "actions": "\n".join(actions_in(text))}
