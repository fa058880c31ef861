"""How right minutes are: words for the score of a sentence; words, keywords and action items over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rapidfuzz.distance import Levenshtein

from circinus.operator import Payload, Scorer

#: Fields of the answer that list something, a line for each.
_LISTS = ("keywords", "actions")


def word_errors(answer: str, truth: str) -> int:
    """How many words must be put in, taken out or changed to make the truth of the answer."""
    return int(Levenshtein.distance(answer.split(), truth.split()))


def f1(right: float, found: float, true: float) -> float:
    """The harmonic mean of precision and recall; 1 where there was nothing to find and nothing was found."""
    return 2 * right / (found + true) if found + true > 0 else 1.0


def _answer(outputs: Mapping[str, Payload]) -> Payload:
    return next(iter(outputs.values()), {})


class WordAccuracy(Scorer):
    """1 - min(1, word error rate) of one sentence; WER, keywords and action items over all sentences."""

    metric = "word accuracy"

    def score(self, outputs: Mapping[str, Payload], truth: Payload) -> float:
        """The score of the one output's ``text`` against the truth's; without an answer as for an empty one."""
        answer, expected = str(_answer(outputs).get("text", "")), str(truth.get("text", ""))
        words = len(expected.split())
        if words == 0:
            return 1.0 if not answer.split() else 0.0
        return 1.0 - min(1.0, word_errors(answer, expected) / words)

    def label(self, outputs: Mapping[str, Payload]) -> Payload:
        """The text and lists of the one output, taken for what was said."""
        answer = _answer(outputs)
        return {name: str(answer.get(name, "")) for name in ("text", *_LISTS)}

    def tally(self, outputs: Sequence[Mapping[str, Payload]], truths: Sequence[Payload]) -> Mapping[str, float]:
        """Word errors and words; of keywords and action items, how many were right, found and true."""
        names = [f"{name}_{kind}" for name in _LISTS for kind in ("right", "found", "true")]
        totals = dict.fromkeys(("word_errors", "words", *names), 0.0)
        for output, truth in zip(outputs, truths, strict=True):
            answer = _answer(output)
            text = str(truth.get("text", ""))
            totals["word_errors"] += word_errors(str(answer.get("text", "")), text)
            totals["words"] += len(text.split())
            for name in _LISTS:
                found = set(str(answer.get(name, "")).splitlines())
                true = set(str(truth.get(name, "")).splitlines())
                totals[f"{name}_right"] += len(found & true)
                totals[f"{name}_found"] += len(found)
                totals[f"{name}_true"] += len(true)
        return totals

    def corpus(self, totals: Mapping[str, float]) -> Mapping[str, float]:
        """WER over all words, and F1 of all keywords and of all action items; empty if nothing was said."""
        if not totals.get("words"):
            return {}
        metrics = {"WER": totals["word_errors"] / totals["words"]}
        for name, label in zip(_LISTS, ("keyword F1", "action F1"), strict=True):
            metrics[label] = f1(*(totals[f"{name}_{kind}"] for kind in ("right", "found", "true")))
        return metrics
