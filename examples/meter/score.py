"""The scorer: the share of digits that are right, and of readings in which all are."""

from circinus.operator import Scorer


class Digits(Scorer):
    metric = "share of right digits"

    def score(self, outputs, truth):
        pairs = zip(outputs["hold"]["digits"], truth["digits"])
        return sum(digit == right for digit, right in pairs) / len(truth["digits"])

    def tally(self, outputs, truths):
        pairs = zip(outputs, truths)  # an item without an answer has no outputs
        right = sum(answer["hold"]["digits"] == truth["digits"] for answer, truth in pairs if answer)
        return {"readings": len(truths), "right": right}

    def corpus(self, totals):
        return {"right readings": totals["right"] / totals["readings"]}
