"""The process that runs live items through a query's reference configuration, and scores the live answers by it.

Serving comes first: it runs at the lowest priority, one item at a time, and only when the agent asks.
"""

from __future__ import annotations

import contextlib
import os
import sys
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from circinus.operator import KnobValue, Scorer
from circinus.payload import decode
from circinus.v1 import worker_pb2
from edge_agent.harness import describe, knob_values, load, run_process, send_ready
from edge_agent.profile_inputs import Clip, Item, ProfiledPipeline, read_pipeline
from edge_agent.profile_run import OperatorFailed, PipelineRun

if TYPE_CHECKING:
    from edge_agent.harness import AgentLink

_NICE = 19
#: No output of one item is wanted again for another one.
_CACHE_BYTES = 1


class ShadowRun:
    """A pipeline under its reference configuration.

    Raises:
        ValueError: an operator carries state, so that items can't be run alone; or the scorer makes no labels.
    """

    def __init__(self, pipeline: ProfiledPipeline, reference: dict[str, KnobValue], providers: tuple[str, ...]) -> None:
        stateful = [step.id for step in pipeline.steps if step.stateful]
        if stateful:
            raise ValueError(f"operator {stateful[0]} carries state: a live item can't be run again by itself")
        self._scorer: Scorer = load(pipeline.scorer)()
        if type(self._scorer).label is Scorer.label:
            raise ValueError(f"{type(self._scorer).__name__} can't make labels of outputs: override label()")
        self._reference = reference
        self._run = PipelineRun(pipeline, speed_ratio=1.0, providers=providers, cache_bytes=_CACHE_BYTES, rested=False)

    def score(self, request: worker_pb2.ShadowItem) -> worker_pb2.ShadowScore:
        """How right the live answer is if the reference's is."""
        try:
            clip = Clip(items=(Item(payload=request.item, truth=b""),))
            truth = decode(self._run.labelled(0, clip, self._reference).items[0].truth)
            outputs = {name: decode(data) for name, data in request.outputs.items()}
            value = float(self._scorer.score_clip([outputs], [truth]))
        except OperatorFailed as error:
            return worker_pb2.ShadowScore(error=str(error))
        except Exception as error:  # the scorer is the bundle's code, and the answer may be anything
            return worker_pb2.ShadowScore(error=describe(error))
        if not isfinite(value):
            return worker_pb2.ShadowScore(error=f"a score of {value} is not in 0..1")
        return worker_pb2.ShadowScore(score_ratio=min(1.0, max(0.0, value)))

    def close(self) -> None:
        """Lets the operators go of what they hold."""
        self._run.close()


def serve(config: worker_pb2.WorkerConfig, link: AgentLink) -> None:
    """Scores items until the agent says stop. The knobs of the configuration are the whole pipeline's."""
    os.nice(_NICE)
    with contextlib.suppress(OSError, AttributeError):
        # A nice process still takes its turns from those that serve; an idle one runs when nobody else would.
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    run = ShadowRun(read_pipeline(Path(config.bundle_path)), knob_values(config.knobs), tuple(config.providers))
    send_ready(link)
    while True:
        request = link.receive()
        kind = request.WhichOneof("message")
        if kind == "stop":
            run.close()
            return
        if kind != "shadow":
            raise ValueError(f"a shadow's process can't serve a request of kind {kind}")
        link.send(worker_pb2.WorkerReply(shadowed=run.score(request.shadow)))


if __name__ == "__main__":
    sys.exit(run_process(serve))
