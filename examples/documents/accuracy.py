"""How right a reading is: one minus the share of characters in error; beside it, the error rates of the field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rapidfuzz.distance import Levenshtein

from circinus.operator import Payload, Scorer


def normalised(text: str) -> str:
    """The text with every run of white space made one blank: where lines break is no error."""
    return " ".join(text.split())


def character_errors(answer: str, truth: str) -> int:
    """How many characters must be put in, taken out or changed to make the truth of the answer."""
    return int(Levenshtein.distance(normalised(answer), normalised(truth)))


def word_errors(answer: str, truth: str) -> int:
    """How many words must be put in, taken out or changed to make the truth of the answer."""
    return int(Levenshtein.distance(answer.split(), truth.split()))


def _text(outputs: Mapping[str, Payload]) -> str:
    return "".join(str(output.get("text", "")) for output in outputs.values())


class CharacterAccuracy(Scorer):
    """1 - min(1, character error rate) of one page; CER and WER over all pages."""

    metric = "character accuracy"

    def score(self, outputs: Mapping[str, Payload], truth: Payload) -> float:
        """The score of the one output's ``text`` against the truth's; without an answer as for an empty one."""
        answer, expected = _text(outputs), str(truth.get("text", ""))
        length = len(normalised(expected))
        if length == 0:
            return 1.0 if not normalised(answer) else 0.0
        return 1.0 - min(1.0, character_errors(answer, expected) / length)

    def label(self, outputs: Mapping[str, Payload]) -> Payload:
        """The text that was read, taken for the page's."""
        return {"text": _text(outputs)}

    def tally(self, outputs: Sequence[Mapping[str, Payload]], truths: Sequence[Payload]) -> Mapping[str, float]:
        """Errors and lengths, in characters and in words; a page without an answer has all of its text wrong."""
        totals = {"character_errors": 0.0, "characters": 0.0, "word_errors": 0.0, "words": 0.0}
        for output, truth in zip(outputs, truths, strict=True):
            answer, expected = _text(output), str(truth.get("text", ""))
            totals["character_errors"] += character_errors(answer, expected)
            totals["characters"] += len(normalised(expected))
            totals["word_errors"] += word_errors(answer, expected)
            totals["words"] += len(expected.split())
        return totals

    def corpus(self, totals: Mapping[str, float]) -> Mapping[str, float]:
        """CER and WER: errors of all pages over the length of all; empty if there was nothing to read."""
        if not totals.get("characters"):
            return {}
        return {
            "CER": totals["character_errors"] / totals["characters"],
            "WER": totals["word_errors"] / totals["words"],
        }
