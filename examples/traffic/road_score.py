"""How right the boxes of a clip are: F1 at an intersection over union of one half, with the right class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from boxes import areas, best_pairs, iou, no_boxes, overlaps

from circinus.operator import Payload, Scorer

LEAST_IOU = 0.5


def match(output: Payload, truth: Payload) -> tuple[list[tuple[int, int]], int, int]:
    """One frame: pairs of the output's and the truth's row, wrong boxes, and vehicles that were missed.

    A vehicle that hardly shows need not be found; a box on one is no error.
    """
    boxes, labels = _boxes(output)
    expected, classes = _boxes(truth)
    hidden = np.asarray(truth.get("hidden", np.zeros(len(expected))), bool)
    worth = np.where(labels[:, None] == classes[None, :], iou(boxes, expected), 0.0)
    clear = np.flatnonzero(~hidden)
    pairs = [(row, int(clear[column])) for row, column in best_pairs(worth[:, clear], LEAST_IOU)] if len(clear) else []
    taken = {row for row, _ in pairs}
    inside = overlaps(boxes, expected[hidden]).max(axis=1, initial=0.0) / np.maximum(areas(boxes), 1e-9)
    wrong = sum(row not in taken and inside[row] < LEAST_IOU for row in range(len(boxes)))
    return pairs, int(wrong), len(clear) - len(pairs)


def _boxes(payload: Payload) -> tuple[np.ndarray, np.ndarray]:
    boxes = np.asarray(payload.get("boxes", no_boxes()), np.float64).reshape(-1, 4)
    return boxes, np.asarray(payload.get("labels", np.zeros(len(boxes))), np.int64)


def f1(right: float, wrong: float, missed: float) -> float:
    """The harmonic mean of precision and recall; 1 where there is nothing to find and nothing was found."""
    return 2 * right / (2 * right + wrong + missed) if right + wrong + missed else 1.0


class ClipF1(Scorer):
    """F1 of the boxes, pooled over a clip's frames.

    Beside it, of a whole content: F1, precision and recall of all boxes pooled, MOTA (Bernardin and Stiefelhagen
    2008) with class errors counted as both a miss and a wrong box, and how far the line's counts are off.
    """

    metric = "clip F1"

    def score(self, outputs: Mapping[str, Payload], truth: Payload) -> float:
        """F1 of one frame."""
        return self.score_clip([outputs], [truth])

    def score_clip(self, outputs: Sequence[Mapping[str, Payload]], truths: Sequence[Payload]) -> float:
        """F1 of a clip; a frame without an answer has found nothing."""
        tally = self.tally(outputs, truths)
        return f1(tally["right"], tally["wrong"], tally["missed"])

    def label(self, outputs: Mapping[str, Payload]) -> Payload:
        """The vehicles of the one output, taken for those on the road; none of them is hidden."""
        (answer,) = outputs.values()
        return {**{name: answer[name] for name in ("boxes", "labels", "ids")}, "crossed": answer["counts"]}

    def tally(self, outputs: Sequence[Mapping[str, Payload]], truths: Sequence[Payload]) -> dict[str, float]:
        """Boxes right, wrong and missed, changes of identity, vehicles past the line and errors in their counts."""
        answers = [next(iter(output.values()), {}) for output in outputs]
        right = wrong = missed = switches = 0
        known: dict[int, int] = {}
        for answer, truth in zip(answers, truths, strict=True):
            pairs, false, lost = match(answer, truth)
            right, wrong, missed = right + len(pairs), wrong + false, missed + lost
            for row, column in pairs:
                vehicle, track = int(truth["ids"][column]), int(answer["ids"][row])
                switches += known.get(vehicle, track) != track
                known[vehicle] = track
        counted = [answer["counts"] for answer in answers if "counts" in answer]
        crossed = truths[-1]["crossed"] - truths[0]["crossed"]
        found = counted[-1] - counted[0] if counted else np.zeros_like(crossed)
        return {
            "right": right,
            "wrong": wrong,
            "missed": missed,
            "switches": switches,
            "crossed": int(crossed.sum()),
            "count_errors": int(np.abs(found - crossed).sum()),
        }

    def corpus(self, totals: Mapping[str, float]) -> dict[str, float]:
        """F1, precision, recall and MOTA of all clips; count errors as a share of the vehicles that passed."""
        right, wrong, missed = totals["right"], totals["wrong"], totals["missed"]
        vehicles = max(1.0, right + missed)
        return {
            "F1": f1(right, wrong, missed),
            "precision": right / max(1.0, right + wrong),
            "recall": right / vehicles,
            "MOTA": 1 - (wrong + missed + totals["switches"]) / vehicles,
            "count_error": totals["count_errors"] / max(1.0, totals["crossed"]),
        }
