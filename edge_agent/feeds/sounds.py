"""WAV files as items, at once or at the pace of a microphone. Runs in a bundle's environment, which has numpy."""

from __future__ import annotations

import time
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from circinus.model.pipeline import Feed
from circinus.operator import Payload
from edge_agent.feeds.access import Access, NotOpened

_MS_PER_S = 1000.0
_FULL_SCALE = 32768.0
#: Longest wait for a chunk; then the agent is told that there is none yet.
_CHUNK_WAIT_S = 0.5


class Sounds:
    """Opens WAV files (PCM, 8, 16 or 32 bits) as a feed wants them: chunks in a row, the last as long as it is."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def __call__(self, path: Path) -> Iterator[Payload]:
        """The items of a file.

        Raises:
            NotOpened: it is no WAV file that can be read.
        """
        recording = open_wav(path)
        return self._chunks(recording)

    def chunk(self, recording: wave.Wave_read) -> Payload | None:
        """What a file has next, as the pipeline's operators want it; None: it has come to its end."""
        count = max(1, round(recording.getframerate() * self._feed.chunk_ms / _MS_PER_S))
        data = recording.readframes(count)
        if not data:
            return None
        samples = _samples(data, recording.getsampwidth(), recording.getnchannels())
        samples = _with_channels(samples, self._feed.channels)
        samples = resampled(samples, recording.getframerate(), self._feed.rate_hz)
        sound: Any = samples.astype(np.float32)
        if self._feed.form == "int16":
            sound = np.clip(np.rint(samples * _FULL_SCALE), -32768, 32767).astype(np.int16)
        payload = {self._feed.field: sound[:, 0] if self._feed.channels == 1 else sound}
        if self._feed.rate_field:
            payload[self._feed.rate_field] = self._feed.rate_hz
        return payload

    def _chunks(self, recording: wave.Wave_read) -> Iterator[Payload]:
        with recording:
            while (payload := self.chunk(recording)) is not None:
                yield payload


class MicrophoneFeed:
    """A WAV file that is played by the clock, again and again: a chunk is there when it would have been heard.

    Whoever asks late gets the newest whole chunk; those before it are thrown away.
    """

    def __init__(
        self,
        path: str,
        access: Access,
        sounds: Sounds,
        chunk_ms: int,
        *,
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.ended = False
        self.trouble = ""
        self._path = path
        self._access = access
        self._sounds = sounds
        self._chunk_s = chunk_ms / _MS_PER_S
        self._now_s = now_s
        self._sleep = sleep
        self._recording: wave.Wave_read | None = None
        self._started_s = 0.0
        self._played = 0

    def next(self) -> Payload | None:
        """The newest chunk that was heard and not given yet."""
        if self._recording is None:
            self._recording = open_wav(self._access.file(self._path))
            self._started_s, self._played = self._now_s(), 0
        heard = self._heard()
        if heard <= self._played:
            due_s = self._started_s + (self._played + 1) * self._chunk_s
            self._sleep(max(0.0, min(_CHUNK_WAIT_S, due_s - self._now_s())))
            heard = self._heard()
            if heard <= self._played:
                return None
        payload = None
        while self._played < heard:
            payload = self._sounds.chunk(self._recording)
            if payload is None:
                self._recording.rewind()
                payload = self._sounds.chunk(self._recording)
                if payload is None:
                    raise NotOpened(f"{self._path}: has no sound in it")
            self._played += 1
        return payload

    def close(self) -> None:
        """Lets go of the file."""
        if self._recording is not None:
            self._recording.close()
            self._recording = None

    def _heard(self) -> int:
        return int((self._now_s() - self._started_s) / self._chunk_s)


def open_wav(path: Path) -> wave.Wave_read:
    """A WAV file, open.

    Raises:
        NotOpened: it is none that can be read.
    """
    try:
        recording = wave.open(str(path), "rb")  # noqa: SIM115 - the caller closes it
    except (OSError, EOFError, wave.Error) as error:
        raise NotOpened(f"{path}: no WAV file that can be read: {error}") from error
    if recording.getsampwidth() not in (1, 2, 4):
        width = 8 * recording.getsampwidth()
        recording.close()
        raise NotOpened(f"{path}: samples of {width} bits; 8, 16 and 32 can be read")
    return recording


def resampled(samples: Any, from_hz: int, to_hz: int) -> Any:
    """Samples (N, channels) at another rate, by straight lines between them: good enough to listen to speech."""
    if from_hz == to_hz or len(samples) == 0:
        return samples
    count = max(1, round(len(samples) * to_hz / from_hz))
    at = np.arange(count) * (from_hz / to_hz)
    there = np.arange(len(samples))
    return np.stack([np.interp(at, there, channel) for channel in samples.T], axis=1)


def _samples(data: bytes, width: int, channels: int) -> Any:
    """PCM as numbers in -1..1, (N, channels)."""
    if width == 1:  # the one width that WAV has without a sign
        values = (np.frombuffer(data, np.uint8).astype(np.float64) - 128.0) / 128.0
    elif width == 2:
        values = np.frombuffer(data, "<i2").astype(np.float64) / _FULL_SCALE
    else:
        values = np.frombuffer(data, "<i4").astype(np.float64) / 2.0**31
    return values[: len(values) // channels * channels].reshape(-1, channels)


def _with_channels(samples: Any, channels: int) -> Any:
    if samples.shape[1] == channels:
        return samples
    mixed = samples.mean(axis=1, keepdims=True)
    return np.repeat(mixed, channels, axis=1)
