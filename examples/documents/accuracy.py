"""How right a reading is: one minus the share of characters in error."""

from __future__ import annotations

from collections.abc import Mapping

from rapidfuzz.distance import Levenshtein

from circinus.operator import Payload, Scorer


def normalised(text: str) -> str:
    """The text with every run of white space made one blank: where lines break is no error."""
    return " ".join(text.split())


def character_errors(answer: str, truth: str) -> int:
    """How many characters must be put in, taken out or changed to make the truth of the answer."""
    return int(Levenshtein.distance(normalised(answer), normalised(truth)))


class CharacterAccuracy(Scorer):
    """1 - min(1, character error rate) of one page."""

    metric = "character accuracy"

    def score(self, outputs: Mapping[str, Payload], truth: Payload) -> float:
        """The score of the one output's ``text`` against the truth's."""
        (output,) = outputs.values()
        answer, expected = str(output.get("text", "")), str(truth.get("text", ""))
        length = len(normalised(expected))
        if length == 0:
            return 1.0 if not normalised(answer) else 0.0
        return 1.0 - min(1.0, character_errors(answer, expected) / length)
