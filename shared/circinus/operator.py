"""The API that pipeline authors implement: Operator, Source, Scorer.

An operator is an ordinary class. Circinus makes one instance for each replica, in a process of its own, with
the knobs that the plan chose, and calls ``process`` once for each item:

    class Upper(Operator):
        def process(self, inputs):
            return {"text": inputs["source"]["text"].upper()}

What flows is a payload: a dict of numpy arrays, bytes, text, numbers and flags. This module imports nothing
but the standard library, so that an operator's environment need have nothing but what the operator uses.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    import numpy as np

    PayloadValue = np.ndarray | bytes | str | int | float | bool
else:
    PayloadValue = object

#: What flows along one edge of the pipeline for one item.
Payload = Mapping[str, PayloadValue]

KnobValue = str | int | float | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorContext:
    """What an operator may know of where it runs.

    ``providers`` are the onnxruntime execution providers it may use, best first; ``threads`` the threads its
    libraries may use.
    """

    operator_id: str = ""
    threads: int = 1
    providers: tuple[str, ...] = ("CPUExecutionProvider",)


class Operator(ABC):
    """One step of a pipeline. Override ``process``; ``setup`` for models; ``close`` to let go of them."""

    def __init__(self, knobs: Mapping[str, KnobValue], context: OperatorContext) -> None:
        self.knobs = dict(knobs)
        self.context = context
        self.setup()

    def setup(self) -> None:  # noqa: B027 - optional hook
        """Loads what the operator needs; called once, before the replica counts as ready."""

    @abstractmethod
    def process(self, inputs: Mapping[str, Payload]) -> Payload:
        """One item: payloads by input name (an operator id or "source") to the output payload."""

    def process_batch(self, batch: Sequence[Mapping[str, Payload]]) -> list[Payload]:
        """Several items at once; by default one after the other. As many outputs as inputs, in order."""
        return [self.process(inputs) for inputs in batch]

    def reset(self) -> None:  # noqa: B027 - optional hook
        """Forgets all that was carried over from earlier items; an operator with ``state: per_source`` overrides it.

        Called before each clip of a content: what comes after it depends on the items that follow alone.
        """

    def close(self) -> None:  # noqa: B027 - optional hook
        """Lets go of what ``setup`` took; called once at an orderly stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """An item and what a right answer to it is."""

    payload: Payload
    truth: Payload = field(default_factory=dict)


class Source(ABC):
    """Makes items. The same content and seed give the same items, for ever: sample sets are addressed by digest."""

    def __init__(self, content: str, seed: int) -> None:
        self.content = content
        self.seed = seed

    @abstractmethod
    def samples(self) -> Iterator[Sample]:
        """Items without end. Profiling uses the first ones of one seed, serving those of another.

        A content may cut them into clips: so many items that only warm up what carries state, then those that count.
        """


class Scorer(ABC):
    """Scores answers against the truth.

    A content's sample is an item, or a clip of items where an operator carries state. What planning goes by is the mean
    score of samples; the metric of the field, which is often no mean of scores, may stand beside it by ``tally`` and
    ``corpus``.
    """

    #: Name of the metric, for people.
    metric: ClassVar[str] = "accuracy"

    @abstractmethod
    def score(self, outputs: Mapping[str, Payload], truth: Payload) -> float:
        """The score of one item, 0..1: payloads by output operator id against the item's truth."""

    def score_clip(self, outputs: Sequence[Mapping[str, Payload]], truths: Sequence[Payload]) -> float:
        """The score of a clip, 0..1, from its items' outputs and truths in order; by default the mean of their scores.

        An item that has no answer has no outputs.
        """
        scores = [self.score(answer, truth) if answer else 0.0 for answer, truth in zip(outputs, truths, strict=True)]
        return sum(scores) / len(scores)

    def tally(self, outputs: Sequence[Mapping[str, Payload]], truths: Sequence[Payload]) -> Mapping[str, float]:
        """Counts of one sample that add up over samples, such as errors and characters; called as ``score_clip`` is."""
        return {}

    def label(self, outputs: Mapping[str, Payload]) -> Payload:
        """The truth that these outputs of one item would be right for, to score other configurations against.

        Raises:
            NotImplementedError: this scorer can't make truths of outputs.
        """
        raise NotImplementedError(
            f"{type(self).__name__} can't make labels of outputs: override label(), or profile against known truths"
        )

    def corpus(self, totals: Mapping[str, float]) -> Mapping[str, float]:
        """The metrics of a whole content by name, from its samples' tallies added up: errors over characters, say."""
        return {}
