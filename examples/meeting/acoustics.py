"""The acoustic model of pocketsphinx's wheel, fitted to these voices and rooms.

The model was trained on people; espeak-ng's voices sound otherwise, and so does a noisy room or a telephone's band. A
linear map of the means of each phone's Gaussians makes up for much of it: maximum-likelihood linear regression
(Leggetter and Woodland, 1995). The maps were estimated by adapt.py on sentences and voices that no content has; they
lie in acoustics.npz.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pocketsphinx

#: The wheel's model of American English, and its dictionary.
MODEL = Path(pocketsphinx.get_model_path()) / "en-us"
FILES = MODEL / "en-us"
DICTIONARY = MODEL / "cmudict-en-us.dict"

MAPS = Path(__file__).parent / "acoustics.npz"

#: What the model calls its phones, in its order; each has a codebook of Gaussians of its own.
_PHONES = """
    +NSN+ +SPN+ AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH SIL T TH UH UW V W Y Z ZH
"""
PHONES = tuple(_PHONES.split())

#: Streams of features (cepstra, their first and second differences), Gaussians in each, features in each.
STREAMS, GAUSSIANS, FEATURES = 3, 128, 13

_MAGIC = 0x11223344


def read_gaussians(path: Path) -> tuple[bytes, np.ndarray]:
    """A model's means or variances: what stands before them, and they: (phone, stream, Gaussian, feature).

    Raises:
        ValueError: the file isn't laid out as that of the model that the maps are for.
    """
    data = path.read_bytes()
    start = data.index(b"endhdr\n") + len(b"endhdr\n")
    shape = (len(PHONES), STREAMS, GAUSSIANS, FEATURES)
    expected = [_MAGIC, *shape[:3], *[FEATURES] * STREAMS, int(np.prod(shape))]
    if np.frombuffer(data, "<u4", len(expected), start).tolist() != expected:
        raise ValueError(f"{path} holds no model of {shape} numbers: the maps in {MAPS.name} are for another")
    end = start + 4 * len(expected)
    return data[:end], np.frombuffer(data, "<f4", int(np.prod(shape)), end).reshape(shape)


def mapped(means: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """The means, moved: ``maps`` are (phone, stream, feature, 1 + feature), the offset first."""
    moved = np.einsum("psij,pskj->pski", maps[..., 1:], means.astype(np.float64))
    return np.asarray(moved + maps[..., 0][:, :, None, :])


def write_means(path: Path, name: str) -> None:
    """Writes the model's means, moved by the maps of this name.

    Raises:
        ValueError: there are no such maps.
    """
    with np.load(MAPS) as maps:
        if name not in maps:
            raise ValueError(f"{MAPS.name} has no maps {name!r}; it has {', '.join(sorted(maps))}")
        head, means = read_gaussians(FILES / "means")
        save_means(path, head, mapped(means, maps[name].astype(np.float64)))


def save_means(path: Path, head: bytes, means: np.ndarray) -> None:
    """Writes means after the head of the file that they came from."""
    # Without its checksum: it covers numbers that are others now.
    path.write_bytes(head.replace(b"chksum0 yes\n", b"") + means.astype("<f4").tobytes())
