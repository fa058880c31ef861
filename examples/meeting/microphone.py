"""The microphone of a meeting room: sentences whose words are known, and what else is to be heard.

A sentence is spoken by espeak-ng, put somewhere into a few seconds of the room, and given the room's noise: the hum and
hiss of machines, and other people's talk. How much of each, how fast and with which accents is what a content is:

quiet    a planning meeting in a quiet room: a fan's noise, and many words that few meetings have.
noisy    a stand-up meeting on the shop floor: machines and talk all round, and the words that every meeting has.
fast     people in a hurry, half as fast again, doors and chairs before and after.
accents  people from elsewhere: Britain, Scotland, Lancaster, New York.

The same content and seed give the same items with the same espeak-ng.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from sentences import Side, sentences
from signals import RATE_HZ, pink_noise, resampled, samples

from circinus.operator import Sample, Source

#: What espeak-ng gives.
_ESPEAK_RATE_HZ = 22050

#: The header of the WAV file that espeak-ng writes to a pipe.
_WAV_HEADER_BYTES = 44

#: Below this a sample of espeak-ng's counts as silence before or after the speech.
_SILENT = 30

#: The level of speech, root mean square of 16 bits.
_SPEECH_LEVEL = 2500.0

#: Sentences from which other people's talk is mixed, and how many of them talk at once.
_TALK_SENTENCES, _TALKERS = 12, 5

#: How long a bang takes to die away, from and to.
_BANG_S = (0.2, 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """How a content's items sound. Ranges are drawn from for each item.

    ``speed`` is in words a minute; ``pitch`` espeak-ng's, 0..99; ``gap_s`` the time before and after the speech;
    ``snr_db`` how far the speech lies over all noise; ``talk_ratio`` the share of other people's talk in the noise's
    power; ``bangs_per_s`` how often, before and after the speech, a door or a chair is as loud as it;
    ``tier_ratios`` how often words are of each tier.
    """

    voices: tuple[str, ...]
    speed: tuple[int, int]
    pitch: tuple[int, int]
    gap_s: tuple[float, float]
    snr_db: tuple[float, float]
    talk_ratio: float
    bangs_per_s: float
    tier_ratios: tuple[float, float, float]


_HOME_VOICES = ("en-us", "en-us+m3", "en-us+m5", "en-us+m7", "en-us+f2", "en-us+f4", "en-us+f5", "en-us+klatt")

CONDITIONS = {
    "quiet": Conditions(
        voices=_HOME_VOICES,
        speed=(140, 170),
        pitch=(35, 65),
        gap_s=(0.6, 1.6),
        snr_db=(25.0, 32.0),
        talk_ratio=0.0,
        bangs_per_s=0.0,
        tier_ratios=(0.4, 0.2, 0.4),
    ),
    "noisy": Conditions(
        voices=_HOME_VOICES,
        speed=(140, 165),
        pitch=(35, 65),
        gap_s=(0.6, 1.6),
        snr_db=(6.0, 12.0),
        talk_ratio=0.4,
        bangs_per_s=0.0,
        tier_ratios=(0.8, 0.15, 0.05),
    ),
    "fast": Conditions(
        voices=_HOME_VOICES,
        speed=(215, 255),
        pitch=(35, 65),
        gap_s=(0.6, 1.6),
        snr_db=(18.0, 25.0),
        talk_ratio=0.1,
        bangs_per_s=0.8,
        tier_ratios=(0.6, 0.3, 0.1),
    ),
    "accents": Conditions(
        voices=("en-gb", "en-gb-x-rp", "en-gb-scotland", "en-gb-x-gbclan", "en-us-nyc"),
        speed=(135, 165),
        pitch=(35, 65),
        gap_s=(0.6, 1.6),
        snr_db=(18.0, 25.0),
        talk_ratio=0.1,
        bangs_per_s=0.0,
        tier_ratios=(0.5, 0.3, 0.2),
    ),
}


def speak(text: str, voice: str, speed: int, pitch: int) -> np.ndarray:
    """The sentence as espeak-ng says it, at RATE_HZ, without silence before and after.

    Its library would be quicker than its program, but what it has said before changes what it says next.

    Raises:
        RuntimeError: espeak-ng isn't installed, or doesn't know the voice.
    """
    program = shutil.which("espeak-ng")
    if program is None:
        raise RuntimeError("espeak-ng isn't installed: apt-get install espeak-ng")
    command = [program, "--stdout", "-v", voice, "-s", str(speed), "-p", str(pitch), text]
    done = subprocess.run(command, capture_output=True, check=False)
    wave = np.frombuffer(done.stdout[_WAV_HEADER_BYTES:], dtype="<i2").astype(np.float64)
    loud = np.flatnonzero(np.abs(wave) > _SILENT)
    if done.returncode != 0 or loud.size == 0:
        raise RuntimeError(f"espeak-ng doesn't speak as {voice!r}: {done.stderr.decode(errors='replace').strip()}")
    return resampled(wave[loud[0] : loud[-1] + 1], _ESPEAK_RATE_HZ, RATE_HZ)


def at_level(wave: np.ndarray, level: float) -> np.ndarray:
    """The wave, made as loud as this root mean square; silence stays silence."""
    return wave * (level / max(float(np.sqrt(np.mean(wave**2))), 1e-9))


def utter(rng: np.random.Generator, text: str, conditions: Conditions) -> np.ndarray:
    """The sentence in one of the content's voices, speeds and pitches."""
    voice = conditions.voices[int(rng.integers(len(conditions.voices)))]
    speed = int(rng.integers(conditions.speed[0], conditions.speed[1] + 1))
    pitch = int(rng.integers(conditions.pitch[0], conditions.pitch[1] + 1))
    return at_level(speak(text, voice, speed, pitch), _SPEECH_LEVEL)


class Room:
    """What is to be heard in a room besides the one who speaks."""

    def __init__(self, rng: np.random.Generator, conditions: Conditions) -> None:
        self._conditions = conditions
        self._talk = np.zeros(1)
        if conditions.talk_ratio > 0:
            stream = sentences(rng, Side.TRAINING, conditions.tier_ratios)
            self._talk = np.concatenate([utter(rng, next(stream).text, conditions) for _ in range(_TALK_SENTENCES)])

    def noise(self, rng: np.random.Generator, size: int) -> np.ndarray:
        """So many samples of the room, of level 1."""
        hum_hz = float(rng.choice((50.0, 60.0)))
        phase = rng.uniform(0, 2 * np.pi, 3)[:, None]
        turns = np.arange(1, 4)[:, None] * hum_hz * np.arange(size)[None, :] / RATE_HZ
        hum = np.sin(2 * np.pi * turns + phase).sum(axis=0)
        machines = at_level(at_level(pink_noise(rng, size), 1.0) + 0.4 * hum, 1.0)
        starts = rng.integers(0, self._talk.size, _TALKERS)
        talk = np.sum([np.resize(np.roll(self._talk, -int(start)), size) for start in starts], axis=0)
        ratio = self._conditions.talk_ratio
        return at_level(np.sqrt(1 - ratio) * machines + np.sqrt(ratio) * at_level(talk, 1.0), 1.0)


def bangs(rng: np.random.Generator, size: int, per_s: float) -> np.ndarray:
    """So many samples with doors and chairs in them: bursts of noise, as loud as speech, that die away."""
    wave = np.zeros(size)
    for _ in range(int(rng.poisson(per_s * size / RATE_HZ))):
        length = round(float(rng.uniform(*_BANG_S)) * RATE_HZ)
        start = int(rng.integers(size))
        burst = pink_noise(rng, length) * np.exp(-4 * np.arange(length) / length)
        part = wave[start : start + length]
        part += at_level(burst, _SPEECH_LEVEL)[: part.size]
    return wave


def record(rng: np.random.Generator, text: str, room: Room, conditions: Conditions) -> np.ndarray:
    """The sentence as the microphone hears it, 16 bits at RATE_HZ."""
    speech = utter(rng, text, conditions)
    before, after = (round(float(rng.uniform(*conditions.gap_s)) * RATE_HZ) for _ in range(2))
    first, last = (bangs(rng, size, conditions.bangs_per_s) for size in (before, after))
    wave = np.concatenate([first, speech, last])
    noise_level = _SPEECH_LEVEL * 10 ** (-float(rng.uniform(*conditions.snr_db)) / 20)
    wave += noise_level * room.noise(rng, wave.size)
    return samples(wave)


def _joined(lines: Sequence[str]) -> str:
    return "\n".join(lines)


class Microphone(Source):
    """Items: ``audio`` (samples, int16) at ``rate``; truth: ``text``, ``keywords`` and ``actions``, a line for each."""

    def samples(self) -> Iterator[Sample]:
        """Sentences without end.

        Raises:
            ValueError: there is no such content, or the seed is negative.
            RuntimeError: espeak-ng isn't there.
        """
        conditions = CONDITIONS.get(self.content)
        if conditions is None:
            raise ValueError(f"the room knows no content {self.content!r}; it knows {', '.join(sorted(CONDITIONS))}")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}; it must not be negative")
        name = int.from_bytes(hashlib.sha256(self.content.encode()).digest()[:8], "big")
        rng = np.random.default_rng([name, self.seed])
        room = Room(rng, conditions)
        for sentence in sentences(rng, Side.MEETING, conditions.tier_ratios):
            audio = record(rng, sentence.text, room, conditions)
            actions = [str(sentence.action)] if sentence.action else []
            truth = {"text": sentence.text, "keywords": _joined(sentence.keywords), "actions": _joined(actions)}
            yield Sample(payload={"audio": audio, "rate": RATE_HZ}, truth=truth)
