"""Estimates the maps in acoustics.npz. Takes some ten minutes; needed only when voices or rooms change.

    .venv/bin/python examples/meeting/adapt.py [--sentences 400] [--only 16000-quiet]

For each kind of sound, sentences of the training side are spoken by voices that no content has. Pocketsphinx says
which states a sentence goes through; the frames are laid to them here (Viterbi), and the maps that make the frames
most likely are solved for (Leggetter and Woodland, 1995), in turns.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from acoustics import FEATURES, FILES, GAUSSIANS, MAPS, PHONES, STREAMS, mapped, read_gaussians
from microphone import Conditions, Room, record
from pocketsphinx import Decoder
from sentences import Side, sentences, vocabulary
from signals import RATE_HZ, resampled, samples
from transcriber import write_dictionary

_VARIANTS = "m1 m2 m4 m6 m8 f1 f3 klatt2 klatt3 adam steph anika"
VOICES = (*(f"en-us+{variant}" for variant in _VARIANTS.split()), "en-us+michael", "en-gb+m1", "en-gb+f3")

_QUIET = Conditions(
    voices=VOICES,
    speed=(135, 210),
    pitch=(30, 70),
    gap_s=(0.2, 0.4),
    snr_db=(25.0, 32.0),
    talk_ratio=0.0,
    bangs_per_s=0.0,
    tier_ratios=(0.3, 0.3, 0.4),
)

#: The rooms that the maps are for, by name.
ROOMS = {"quiet": _QUIET, "noisy": replace(_QUIET, snr_db=(6.0, 14.0), talk_ratio=0.4)}
RATES_HZ = (8_000, 16_000)

#: How strongly a map holds on to changing nothing, in frames.
_PRIOR_FRAMES = 20.0

_TURNS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """``frames`` (frame, stream, feature) and the states that they go through: phone and senone of each, in order."""

    frames: np.ndarray
    phones: np.ndarray
    senones: np.ndarray


def features(cepstra: np.ndarray) -> np.ndarray:
    """Cepstra less their mean, and their differences as the model takes them: (frame, stream, feature)."""
    padded = np.pad(cepstra - cepstra.mean(axis=0), ((3, 3), (0, 0)), mode="edge")

    def at(offset: int) -> np.ndarray:
        return padded[3 + offset : 3 + offset + len(cepstra)]

    return np.stack([at(0), at(2) - at(-2), (at(3) - at(-1)) - (at(1) - at(-3))], axis=1)


def utterance(folder: Path, text: str, audio: np.ndarray) -> Utterance | None:
    """The sentence's frames and states; None if pocketsphinx can't lay one to the other."""
    for left in folder.glob("*.mfc"):
        left.unlink()
    wide = dict.fromkeys(("beam", "wbeam", "pbeam"), 1e-200)
    dictionary = str(folder / "words.dict")
    decoder = Decoder(
        hmm=str(FILES), dict=dictionary, lm=None, cmn="batch", loglevel="FATAL", mfclogdir=str(folder), **wide
    )
    try:
        decoder.set_align_text(text)
        decoder.start_utt()
        decoder.process_raw(audio.astype("<i2").tobytes(), full_utt=True)
        decoder.end_utt()
        decoder.set_alignment()
    except RuntimeError:
        return None
    states = [
        (PHONES.index(phone.name), int(state.name))
        for word in decoder.get_alignment()
        for phone in word
        for state in phone
    ]
    (log,) = folder.glob("*.mfc")
    cepstra = np.frombuffer(log.read_bytes(), ">f4", offset=4).reshape(-1, FEATURES).astype(np.float64)
    phones, senones = np.array(states).T
    return Utterance(frames=features(cepstra), phones=phones, senones=senones)


def utterances(room_name: str, rate_hz: int, count: int) -> list[Utterance]:
    """Sentences of the training side in this room and band."""
    rng = np.random.default_rng([count, rate_hz])
    conditions = ROOMS[room_name]
    room = Room(rng, conditions)
    stream = sentences(rng, Side.TRAINING, conditions.tier_ratios)
    made = []
    with tempfile.TemporaryDirectory() as name:
        write_dictionary(Path(name) / "words.dict", vocabulary())
        for index in range(count):
            text = next(stream).text
            voice = replace(conditions, voices=(VOICES[index % len(VOICES)],))
            audio = record(rng, text, room, voice).astype(np.float64)
            if rate_hz != RATE_HZ:
                audio = resampled(resampled(audio, RATE_HZ, rate_hz), rate_hz, RATE_HZ)
            one = utterance(Path(name), text, samples(audio))
            if one is not None:
                made.append(one)
    return made


def mixture_weights() -> np.ndarray:
    """Each Gaussian's weight in each senone: (stream, Gaussian, senone)."""
    data = (FILES / "sendump").read_bytes()
    start = 0
    while length := int(np.frombuffer(data, "<i4", 1, start)[0]):
        start += 4 + length
    rows, senones = np.frombuffer(data, "<i4", 2, start + 4).tolist()
    table = np.frombuffer(data, np.uint8, STREAMS * rows * senones, start + 12).reshape(STREAMS, rows, senones)
    # Bytes are negative logarithms to the base 1.0001, of which ten bits were dropped.
    return np.asarray(1.0001 ** (-1024.0 * table))


class Estimator:
    """Lays frames to states and solves for maps, in turns."""

    def __init__(self, spoken: list[Utterance]) -> None:
        self._spoken = spoken
        self._weights = mixture_weights()
        self._means = read_gaussians(FILES / "means")[1].astype(np.float64)
        self._variances = np.maximum(read_gaussians(FILES / "variances")[1].astype(np.float64), 1e-4)
        identity = np.concatenate([np.zeros((FEATURES, 1)), np.eye(FEATURES)], axis=1)
        self.maps = np.tile(identity, (len(PHONES), STREAMS, 1, 1))

    def turn(self) -> float:
        """One turn; the mean logarithm of a frame's likelihood before it."""
        moved = mapped(self._means, self.maps)
        frames, phones, senones, score = [], [], [], 0.0
        for one in self._spoken:
            path, likelihood = self._path(one, moved)
            score += likelihood / len(self._spoken)
            frames.append(one.frames)
            phones.append(one.phones[path])
            senones.append(one.senones[path])
        self._solve(np.concatenate(frames), np.concatenate(phones), np.concatenate(senones), moved)
        return score

    def _gaussians(self, frames: np.ndarray, phone: int, moved: np.ndarray) -> np.ndarray:
        """Logarithms of likelihoods: (frame, stream, Gaussian)."""
        out = np.empty((len(frames), STREAMS, GAUSSIANS))
        for stream in range(STREAMS):
            mean, variance = moved[phone, stream], self._variances[phone, stream]
            values = frames[:, stream]
            squares = values**2 @ (1 / variance).T - 2 * values @ (mean / variance).T
            out[:, stream] = -0.5 * (squares + (mean**2 / variance + np.log(variance)).sum(axis=1))
        return out

    def _path(self, one: Utterance, moved: np.ndarray) -> tuple[np.ndarray, float]:
        scores = np.empty((len(one.frames), len(one.phones)))
        for phone in np.unique(one.phones):
            likelihood = self._gaussians(one.frames, int(phone), moved).transpose(1, 0, 2)
            top = likelihood.max(axis=2, keepdims=True)
            states = np.flatnonzero(one.phones == phone)
            weighed = np.exp(likelihood - top) @ self._weights[:, :, one.senones[states]]
            scores[:, states] = (np.log(weighed + 1e-300) + top).sum(axis=0)
        best = np.full(len(one.phones), -1e18)
        best[0] = scores[0, 0]
        came = np.zeros(scores.shape, dtype=bool)
        for index in range(1, len(scores)):
            before = np.concatenate([[-1e18], best[:-1]])
            came[index] = before > best
            best = np.maximum(before, best) + scores[index]
        path = np.empty(len(scores), dtype=int)
        state = len(one.phones) - 1
        for index in range(len(scores) - 1, -1, -1):
            path[index] = state
            state -= int(came[index, state])
        return path, float(best[-1]) / len(scores)

    def _solve(self, frames: np.ndarray, phones: np.ndarray, senones: np.ndarray, moved: np.ndarray) -> None:
        for phone in np.unique(phones):
            chosen = phones == phone
            share = self._gaussians(frames[chosen], int(phone), moved)
            share = np.exp(share - share.max(axis=2, keepdims=True))
            share *= self._weights[:, :, senones[chosen]].transpose(2, 0, 1)
            share /= share.sum(axis=2, keepdims=True)
            inverse = 1 / self._variances[phone]
            extended = np.concatenate([np.ones((STREAMS, GAUSSIANS, 1)), self._means[phone]], axis=2)
            seen = np.einsum("nsk,nsd->skd", share, frames[chosen]) * inverse
            left = np.einsum("sk,skd,ska,skb->sdab", share.sum(axis=0), inverse, extended, extended, optimize=True)
            right = np.einsum("skd,ska->sda", seen, extended)
            # Drawn towards no change: rare phones have few frames.
            hold = _PRIOR_FRAMES * np.einsum("skd,ska,skb->sdab", inverse, extended, extended) / GAUSSIANS
            still = np.concatenate([np.zeros((FEATURES, 1)), np.eye(FEATURES)], axis=1)
            right += np.einsum("sdab,db->sda", hold, still)
            self.maps[phone] = np.linalg.solve(left + hold, right[..., None])[..., 0]


def main() -> None:
    """Estimates and writes."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("--sentences", type=int, default=400, help="of each kind of sound")
    arguments.add_argument("--only", default="", help="one kind alone, such as 16000-quiet; the others stay")
    chosen = arguments.parse_args()
    maps = dict(np.load(MAPS)) if MAPS.exists() else {}
    for name in [f"{rate_hz}-{room}" for rate_hz in RATES_HZ for room in ROOMS]:
        if chosen.only in ("", name):
            rate, room = name.split("-")
            estimator = Estimator(utterances(room, int(rate), chosen.sentences))
            for turn in range(_TURNS):
                print(f"{name}: turn {turn}, {estimator.turn():.2f}", file=sys.stderr)
            maps[name] = estimator.maps.astype(np.float16)
    np.savez_compressed(MAPS, **dict(sorted(maps.items())))


if __name__ == "__main__":
    main()
