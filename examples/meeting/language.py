"""Language models for the recogniser: n-grams with Kneser-Ney smoothing, counted on sentences made here.

Nothing is stored: a model is made when an operator starts, in a fraction of a second, the same for ever.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from functools import cache

import numpy as np
from sentences import TIERS, Side, sentences, vocabulary

_DISCOUNT = 0.75
_BEGIN, _END = "<s>", "</s>"


def training_text(tiers: int, count: int = 6000, seed: int = 1) -> list[str]:
    """Sentences of the training side with words of the first so many tiers, each tier half as frequent as the last."""
    shares = [0.5**tier for tier in range(tiers)]
    ratios = [share / sum(shares) for share in shares] + [0.0] * (TIERS - tiers)
    stream = sentences(np.random.default_rng([seed, tiers]), Side.TRAINING, ratios)
    return [next(stream).text for _ in range(count)]


def _counts(texts: Iterable[str], order: int) -> list[Counter[tuple[str, ...]]]:
    """How often each n-gram occurs, n from 1 to the order; below the order: how many words it follows."""
    top: list[Counter[tuple[str, ...]]] = [Counter() for _ in range(order)]
    for text in texts:
        words = (_BEGIN, *text.split(), _END)
        for size in range(1, order + 1):
            top[size - 1].update(zip(*(words[start:] for start in range(size)), strict=False))
    kept = [top[order - 1]]
    for size in range(order - 1, 0, -1):
        continued = Counter(gram[1:] for gram in top[size])
        # What begins a sentence follows nothing: its own count is all there is.
        continued.update({gram: count for gram, count in top[size - 1].items() if gram[0] == _BEGIN})
        kept.append(continued)
    return kept[::-1]


def arpa(texts: Iterable[str], words: Iterable[str], order: int = 3) -> str:
    """An n-gram model in ARPA's format of these sentences; ``words`` may occur though no sentence has them."""
    counts = _counts(texts, order)
    known = sorted({*words, _END} | {gram[0] for gram in counts[0]} - {_BEGIN})
    total = sum(count for gram, count in counts[0].items() if gram[0] != _BEGIN)
    types = sum(1 for gram in counts[0] if gram[0] != _BEGIN)
    spare = _DISCOUNT * types / total / len(known)
    ratio: dict[tuple[str, ...], float] = {
        (word,): max(counts[0][(word,)] - _DISCOUNT, 0) / total + spare for word in known
    }
    backoff: dict[tuple[str, ...], float] = {}
    for size in range(2, order + 1):
        seen: dict[tuple[str, ...], list[tuple[str, ...]]] = defaultdict(list)
        for gram in counts[size - 1]:
            seen[gram[:-1]].append(gram)
        for history, grams in seen.items():
            weight = sum(counts[size - 1][gram] for gram in grams)
            backoff[history] = _DISCOUNT * len(grams) / weight
            for gram in grams:
                ratio[gram] = (counts[size - 1][gram] - _DISCOUNT) / weight + backoff[history] * ratio[gram[1:]]
    ratio[(_BEGIN,)] = 1e-99
    return _text(ratio, backoff, order)


def _text(ratio: Mapping[tuple[str, ...], float], backoff: Mapping[tuple[str, ...], float], order: int) -> str:
    sections = [sorted(gram for gram in ratio if len(gram) == size) for size in range(1, order + 1)]
    lines = ["\\data\\", *(f"ngram {size}={len(grams)}" for size, grams in enumerate(sections, 1)), ""]
    for size, grams in enumerate(sections, 1):
        lines.append(f"\\{size}-grams:")
        for gram in grams:
            line = f"{math.log10(ratio[gram]):.4f}\t{' '.join(gram)}"
            lines.append(f"{line}\t{math.log10(backoff.get(gram, 1.0)):.4f}" if size < order else line)
        lines.append("")
    return "\n".join([*lines, "\\end\\", ""])


@cache
def model(tiers: int, order: int = 3) -> str:
    """The model of the first so many tiers of words, in ARPA's format."""
    return arpa(training_text(tiers), vocabulary(tiers), order)
