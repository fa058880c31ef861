"""Changes that somebody wants to know the consequences of."""

from __future__ import annotations

from circinus.errors import InvalidInput
from circinus.model.what_if import (
    ALL,
    AddDevices,
    CordonDevice,
    Figure,
    RemoveDevice,
    SetPrice,
    SetRate,
    SetSlo,
    SetWeight,
    SloField,
    WhatIf,
)
from circinus.v1 import planner_pb2
from circinus.wire import check

_FIELDS = {
    SloField.LATENCY_MS: planner_pb2.SLO_FIELD_LATENCY_MS,
    SloField.PERCENTILE: planner_pb2.SLO_FIELD_PERCENTILE,
    SloField.ACCURACY: planner_pb2.SLO_FIELD_ACCURACY,
    SloField.COST_PER_H: planner_pb2.SLO_FIELD_COST_PER_H,
}
_BY_MESSAGE = {message: field for field, message in _FIELDS.items()}


def what_if_to_message(change: WhatIf) -> planner_pb2.WhatIfChange:
    """A change's message."""
    message = planner_pb2.WhatIfChange()
    match change:
        case AddDevices():
            message.add_devices.count, message.add_devices.like = change.count, change.like
            message.add_devices.site = change.site
        case RemoveDevice():
            message.remove_device.device_id = change.device
            if change.count is not None:
                message.remove_device.count = change.count
        case CordonDevice():
            message.cordon_device.device_id = change.device
        case SetRate():
            message.set_rate.query_id = change.query
            message.set_rate.rate_per_s.CopyFrom(_figure_to_message(change.rate_per_s))
        case SetWeight():
            message.set_weight.query_id = change.query
            message.set_weight.weight.CopyFrom(_figure_to_message(change.weight))
        case SetPrice():
            message.set_price.device_id = change.device
            message.set_price.price_per_h.CopyFrom(_figure_to_message(change.price_per_h))
        case SetSlo():
            message.set_slo.query_id, message.set_slo.field = change.query, _FIELDS[change.field]
            if change.value is not None:
                message.set_slo.value = change.value
    return message


def what_if_from_message(message: planner_pb2.WhatIfChange) -> WhatIf:
    """The change in a message.

    Raises:
        InvalidInput: it is of no kind that is known here, or a name or figure is bad.
    """
    match message.WhichOneof("change"):
        case "add_devices":
            added = message.add_devices
            return AddDevices(
                count=added.count,
                like=check.name("add_devices.like", added.like),
                site=check.name("add_devices.site", added.site, empty=True),
            )
        case "remove_device":
            removed = message.remove_device
            return RemoveDevice(
                device=check.name("remove_device.device_id", removed.device_id),
                count=removed.count if removed.HasField("count") else None,
            )
        case "cordon_device":
            return CordonDevice(device=check.name("cordon_device.device_id", message.cordon_device.device_id))
        case "set_rate":
            rate = _figure_from_message("set_rate.rate_per_s", message.set_rate.rate_per_s)
            return SetRate(query=_query("set_rate.query_id", message.set_rate.query_id), rate_per_s=rate)
        case "set_weight":
            weight = _figure_from_message("set_weight.weight", message.set_weight.weight)
            return SetWeight(query=_query("set_weight.query_id", message.set_weight.query_id), weight=weight)
        case "set_price":
            price = _figure_from_message("set_price.price_per_h", message.set_price.price_per_h)
            return SetPrice(device=check.name("set_price.device_id", message.set_price.device_id), price_per_h=price)
        case "set_slo":
            bound = message.set_slo
            if bound.field not in _BY_MESSAGE:
                raise InvalidInput(f"set_slo.field: {bound.field} is no bound that is known here")
            return SetSlo(
                query=_query("set_slo.query_id", bound.query_id),
                field=_BY_MESSAGE[bound.field],
                value=check.number("set_slo.value", bound.value) if bound.HasField("value") else None,
            )
    raise InvalidInput("changes: a change of a kind that is not known here; is the client newer than the planner?")


def _query(field: str, value: str) -> str:
    return value if value == ALL else check.name(field, value)


def _figure_to_message(figure: Figure) -> planner_pb2.NewFigure:
    return planner_pb2.NewFigure(value=figure.value, factor=figure.factor)


def _figure_from_message(field: str, message: planner_pb2.NewFigure) -> Figure:
    return Figure(value=check.number(field, message.value), factor=message.factor)
