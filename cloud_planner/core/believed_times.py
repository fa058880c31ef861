"""Service times of configurations that were not measured, on classes that were not measured. PURE.

What is measured on the class, behind the operator's prefix and on the query's content, stands. Else, in this order:
the same on another class, scaled (by what both classes measured of the operator, or of anything; else by their
calibrated speed, from the class whose speed is nearest, one that runs the operator on a like processor first); the
same on another content of the pipeline; a model of its logarithm over the prefix's knobs
(knob_model.py). Each step adds to the figure's relative error. Plans may be sought with such figures; what a plan that
is to be kept rests on is measured afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import exp, hypot, log, sqrt
from typing import Final

import numpy as np

from circinus.model.device import DeviceClass
from circinus.model.pipeline import Configuration, OperatorId, OperatorSpec, Pipeline, configuration_key
from circinus.model.profile import ProfileTable
from cloud_planner.core.class_speeds import Classes
from cloud_planner.core.knob_model import KnobModel, KnobScales
from cloud_planner.core.profiles import ClassStatistics, ServiceStatistics, prefix_key, times_of

#: How far a figure may be off, relative, that comes from another class by the same operator's ratio, by any
#: operator's, by calibration alone; from another content; from a content on which the class was measured little.
_OPERATOR_RATIO_ERROR: Final = 0.10
_CLASS_RATIO_ERROR: Final = 0.20
_CALIBRATION_ERROR: Final = 0.30
#: On top of that where calibration says little: of one accelerator against another, of an accelerator against a CPU.
_ACCELERATORS_ERROR: Final = 0.5
_PROCESSORS_ERROR: Final = 1.0
_CONTENT_ERROR: Final = 0.30
#: How logarithms of times vary over knobs.
_SCALES: Final = KnobScales(constant=2.0, main=1.6, pair=0.4, own=0.10)
#: Variance of a logarithm that comes from a single sample.
_SAMPLE_VARIANCE: Final = 0.1
#: A class that nothing is known of.
_NOTHING: Final = ClassStatistics(services={}, source_bytes=0.0)
_NO_CLASSES: Final = Classes()

_Place = tuple[OperatorId, str]


def believed_times(
    pipeline: Pipeline,
    configurations: Sequence[Configuration],
    own: ProfileTable | None,
    others: Sequence[ProfileTable],
    speed_ratio: Mapping[DeviceClass, float],
    known: Classes = _NO_CLASSES,
) -> dict[DeviceClass, ClassStatistics]:
    """Statistics of every class and configuration; empty if nothing at all was measured of an operator.

    Args:
        pipeline: The pipeline.
        configurations: What is to be known of.
        own: The table of the query's content.
        others: Tables of the pipeline's other contents.
        speed_ratio: The classes that are wanted, and their calibrated speeds.
        known: What is known of these and of classes that are not wanted.
    """
    known = replace(known, speed_ratio={**known.speed_ratio, **speed_ratio})
    mine = times_of(own, pipeline) if own is not None else {}
    theirs = [times_of(table, pipeline) for table in others]
    found: dict[DeviceClass, dict[_Place, ServiceStatistics]] = {device_class: {} for device_class in speed_ratio}
    for operator in pipeline.operators:
        first: dict[str, Configuration] = {}
        for configuration in configurations:
            first.setdefault(prefix_key(pipeline, operator.id, configuration), configuration)
        places = [(operator.id, key) for key in first]
        for device_class, services in found.items():
            for place in places:
                service = _measured(operator, place, device_class, mine, theirs, known)
                if service is not None:
                    services[place] = service
            names = pipeline.upstream_knobs(operator.id)
            knobs = [{name: configuration[name] for name in names} for configuration in first.values()]
            if not _modelled(services, places, knobs):
                return {}
    source_bytes = max((seen.source_bytes for one in (mine, *theirs) for seen in one.values()), default=0.0)
    own_bytes = max((seen.source_bytes for seen in mine.values()), default=0.0)
    return {
        device_class: ClassStatistics(services=_with_memory(services), source_bytes=own_bytes or source_bytes)
        for device_class, services in found.items()
    }


def _measured(
    operator: OperatorSpec,
    place: _Place,
    device_class: DeviceClass,
    mine: Mapping[DeviceClass, ClassStatistics],
    theirs: Sequence[Mapping[DeviceClass, ClassStatistics]],
    classes: Classes,
) -> ServiceStatistics | None:
    """An operator's figures on a class from the nearest measurement; None: it was measured nowhere."""
    here = mine.get(device_class, _NOTHING).services.get(place)
    if here is not None:
        return here
    for known, doubt in ((mine, 0.0), *((other, _CONTENT_ERROR) for other in theirs)):
        best: ServiceStatistics | None = None
        least = (0.0, 0.0)
        for other_class, statistics in sorted(known.items()):
            service = statistics.services.get(place)
            if service is None or service.believed:
                continue
            if other_class == device_class:
                return _scaled(service, 1.0, doubt)
            slower, error = _slower(operator, device_class, other_class, (mine, *theirs), classes)
            scaled = _scaled(service, slower, hypot(error, doubt))
            doubtful = (scaled.error_ratio, abs(log(slower)))
            if best is None or doubtful < least:
                best, least = scaled, doubtful
        if best is not None:
            return best
    return None


def _scaled(service: ServiceStatistics, slower: float, error_ratio: float) -> ServiceStatistics:
    return replace(
        service,
        mean_ms=service.mean_ms * slower,
        variance_ms2=service.variance_ms2 * slower**2,
        error_ratio=hypot(service.error_ratio, error_ratio),
        believed=True,
    )


def _slower(
    operator: OperatorSpec,
    device_class: DeviceClass,
    other: DeviceClass,
    tables: Sequence[Mapping[DeviceClass, ClassStatistics]],
    classes: Classes,
) -> tuple[float, float]:
    """How many times slower a class is than another one, and how far off that may be."""
    same: list[float] = []
    any_: list[float] = []
    for table in tables:
        here, there = table.get(device_class, _NOTHING).services, table.get(other, _NOTHING).services
        for place in here.keys() & there.keys():
            if there[place].mean_ms > 0.0 and here[place].mean_ms > 0.0:
                any_.append(log(here[place].mean_ms / there[place].mean_ms))
                if place[0] == operator.id:
                    same.append(any_[-1])
    if same:
        return exp(sum(same) / len(same)), _OPERATOR_RATIO_ERROR
    if any_:
        return exp(sum(any_) / len(any_)), _CLASS_RATIO_ERROR
    speed, theirs = classes.speed_ratio.get(device_class, 1.0), classes.speed_ratio.get(other, 1.0)
    slower = theirs / speed if speed > 0.0 and theirs > 0.0 else 1.0
    on, elsewhere_on = classes.runs_on(operator, device_class), classes.runs_on(operator, other)
    if on != elsewhere_on:
        return slower, hypot(_CALIBRATION_ERROR, _PROCESSORS_ERROR)
    return slower, hypot(_CALIBRATION_ERROR, _ACCELERATORS_ERROR) if on else _CALIBRATION_ERROR


def _modelled(
    services: dict[_Place, ServiceStatistics], places: Sequence[_Place], knobs: Sequence[Configuration]
) -> bool:
    """Fills in the places that were measured nowhere; False: none of them was."""
    there = [at for at, place in enumerate(places) if place in services]
    if not there:
        return False
    if len(there) == len(places):
        return True
    known = [services[places[at]] for at in there]
    logs = np.log([max(service.mean_ms, 1e-4) for service in known])
    noise = np.array([service.error_ratio**2 + _SAMPLE_VARIANCE / service.samples for service in known])
    model = KnobModel(knobs)
    guess = model.belief(np.full(len(places), float(logs.mean())), _SCALES, np.array(there), logs, noise)
    for at, place in enumerate(places):
        if place in services:
            continue
        near = known[int(np.argmin(np.abs(logs - guess.mean[at])))]
        mean_ms = float(np.exp(guess.mean[at]))
        services[place] = replace(
            near,
            mean_ms=mean_ms,
            variance_ms2=near.variance_ms2 * (mean_ms / max(near.mean_ms, 1e-9)) ** 2,
            memory_bytes=0,
            accelerator_memory_bytes=0,
            samples=1,
            error_ratio=float(guess.deviation[at]),
            believed=True,
        )
    return True


def _with_memory(services: Mapping[_Place, ServiceStatistics]) -> dict[_Place, ServiceStatistics]:
    """Memory depends on an operator's own knobs alone: what one prefix needs, all with the same ones do."""
    most: dict[_Place, tuple[int, int]] = {}
    for place, service in services.items():
        key = _own(place)
        memory, accelerator = most.get(key, (0, 0))
        most[key] = (max(memory, service.memory_bytes), max(accelerator, service.accelerator_memory_bytes))
    return {
        place: replace(service, memory_bytes=most[_own(place)][0], accelerator_memory_bytes=most[_own(place)][1])
        for place, service in services.items()
    }


def _own(place: _Place) -> _Place:
    """A place by the operator's own knobs only."""
    knobs = json.loads(place[1])
    prefix = f"{place[0]}."
    return (place[0], configuration_key({name: value for name, value in knobs.items() if name.startswith(prefix)}))


def relative_error(service: ServiceStatistics) -> float:
    """One standard error of a mean service time, relative."""
    sampling = sqrt(service.variance_ms2 / max(1, service.samples)) / max(service.mean_ms, 1e-9)
    return hypot(sampling, service.error_ratio)
