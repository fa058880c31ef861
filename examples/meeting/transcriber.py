"""Speech to text: pocketsphinx with a language model, a dictionary and an acoustic model that are made here."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import language
import numpy as np
from acoustics import DICTIONARY, FILES, write_means
from pocketsphinx import Decoder
from sentences import vocabulary
from signals import RATE_HZ, samples

#: Language models, with how many tiers of words each knows.
MODELS = {"common": 2, "broad": 3}

#: How hard it is looked for the best sentence: the Gaussians are computed in one of ``ds`` frames, the ``topn`` best
#: of them are kept, and at most ``maxhmmpf`` phones are followed in a frame.
SEARCHES: dict[str, dict[str, int]] = {
    "hasty": {"ds": 4, "topn": 1, "maxhmmpf": 300},
    "brisk": {"ds": 3, "topn": 2, "maxhmmpf": 500},
    "careful": {"ds": 2, "topn": 4, "maxhmmpf": 1000},
}

#: Cepstra less their mean over the recording: kept from those before, the mean would change what is heard in this one.
#: One pass: more of them cost half as much again, and found no more. No look ahead at phones: it cost more than it
#: saved.
_ALWAYS = {"cmn": "batch", "fwdflat": False, "bestpath": False, "pl_window": 0, "loglevel": "FATAL"}

#: The search that follows phones alone.
_PHONES = "phones"


def write_dictionary(path: Path, words: Iterable[str]) -> None:
    """Writes how these words are pronounced.

    Raises:
        ValueError: the wheel's dictionary hasn't one of them.
    """
    wanted = set(words)
    found: set[str] = set()
    lines = []
    with DICTIONARY.open(encoding="utf-8") as stream:
        for line in stream:
            word = line.split(maxsplit=1)[0].split("(")[0]
            if word in wanted:
                found.add(word)
                lines.append(line)
    if found != wanted:
        raise ValueError(f"the dictionary has no {', '.join(sorted(wanted - found))}")
    path.write_text("".join(lines), encoding="utf-8")


class Transcriber:
    """Hears one kind of sound.

    Raises:
        ValueError: there is no such model, search or acoustics.
    """

    def __init__(self, model: str, search: str, acoustics: str) -> None:
        for kind, name, known in (("lm", model, MODELS), ("search", search, SEARCHES)):
            if name not in known:
                raise ValueError(f"{kind} is {name!r}; there are {', '.join(known)}")
        tiers = MODELS[model]
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_dictionary(folder / "words.dict", vocabulary(tiers))
            (folder / "model.arpa").write_text(language.model(tiers), encoding="utf-8")
            write_means(folder / "means", acoustics)
            self._decoder = Decoder(
                hmm=str(FILES),
                lm=str(folder / "model.arpa"),
                dict=str(folder / "words.dict"),
                mean=str(folder / "means"),
                **_ALWAYS,
                **SEARCHES[search],
            )
        self._speech = self._decoder.current_search()
        self._decoder.add_allphone_file(_PHONES, None)
        self._click = samples(np.random.default_rng(0).normal(0, 1000, RATE_HZ // 10))

    def text(self, audio: np.ndarray) -> str:
        """What is said in samples of 16 bits at RATE_HZ, in lower case, words parted by blanks."""
        if audio.size < RATE_HZ // 10:
            return ""
        # In frames that it skips, the decoder takes the Gaussians that were best before, if need be in the recording
        # before. A moment of noise, heard with all phones alive, leaves the same ones each time.
        self._hear(_PHONES, self._click)
        return self._hear(self._speech, audio)

    def _hear(self, search: str, audio: np.ndarray) -> str:
        self._decoder.activate_search(search)
        self._decoder.reinit_feat()  # forgets the noise that it took for the room's
        self._decoder.start_utt()
        self._decoder.process_raw(np.ascontiguousarray(audio, dtype="<i2").tobytes(), full_utt=True)
        self._decoder.end_utt()
        found = self._decoder.hyp()
        return found.hypstr if found is not None else ""
