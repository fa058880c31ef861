"""What the owners of devices allow, as planning keeps to it. PURE.

How much of a device may be used is in its fingerprint already (cores, memory). Here is where a pipeline may run at all,
and where items of a pipeline stay: a device that keeps them at its site takes part only in what is served there.
"""

from __future__ import annotations

from collections.abc import Iterable

from circinus.model.device import Device, SiteId
from circinus.model.pipeline import OperatorId, OperatorSpec, PipelineId
from circinus.model.policy import ALLOW_ALL


def any_policy(devices: Iterable[Device]) -> bool:
    """Whether any owner says anything."""
    return any(device.policy != ALLOW_ALL for device in devices)


def allows(device: Device, pipeline_id: PipelineId, source_site: SiteId) -> bool:
    """Whether a pipeline whose source is at this site may run on a device."""
    if not device.policy.allows(pipeline_id):
        return False
    return pipeline_id not in device.policy.data_stays or device.site == source_site


def refusal(source: Device, pipeline_id: PipelineId) -> str:
    """Why a source device's owner does not let it serve a pipeline; empty: they do."""
    if source.policy.allows(pipeline_id):
        return ""
    allowed = ", ".join(source.policy.allowed_pipelines)
    return f"the owner of its source device {source.id} allows only {allowed} there ([policy] allowed_pipelines)"


def inputs_at_site(operator: OperatorSpec, usable: Iterable[Device], pipeline_id: PipelineId) -> frozenset[OperatorId]:
    """The inputs of an operator whose items stay at the site where they are made: by its pipeline, or by an owner.

    ``usable``: the devices that the query could be placed on, all of which allow it.
    """
    if any(pipeline_id in device.policy.data_stays for device in usable):
        return frozenset(operator.inputs)
    return frozenset(operator.site_inputs)
