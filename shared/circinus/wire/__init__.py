"""Model <-> proto, both ways. What comes from the wire is checked: sizes, signs, no NaN.

What only planners and clients say to each other is loaded when it is asked for: an agent's memory is scarce.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from circinus.wire.device import device_from_message, device_to_message, link_from_message, link_to_message
from circinus.wire.directive import (
    directive_digest,
    directive_from_message,
    directive_to_message,
    generation_of,
    orders_of,
    stand_by_from_message,
    stand_by_to_message,
)
from circinus.wire.knobs import (
    configuration_from_message,
    configuration_to_message,
    knobs_from_map,
)
from circinus.wire.plan import plan_from_message, plan_to_message, selection_from_message, selection_to_message
from circinus.wire.profile import configuration_profile_from_message, configuration_profile_to_message
from circinus.wire.query import (
    budget_from_message,
    budget_to_message,
    query_from_message,
    query_to_message,
    slo_from_message,
    slo_to_message,
)

if TYPE_CHECKING:
    from circinus.wire.explanation import explanation_from_message, explanation_to_message
    from circinus.wire.plan_diff import plan_diff_from_message, plan_diff_to_message
    from circinus.wire.search import search_from_message, search_to_message
    from circinus.wire.what_if import what_if_from_message, what_if_to_message

__all__ = [
    "budget_from_message",
    "budget_to_message",
    "configuration_from_message",
    "configuration_profile_from_message",
    "configuration_profile_to_message",
    "configuration_to_message",
    "device_from_message",
    "device_to_message",
    "directive_digest",
    "directive_from_message",
    "directive_to_message",
    "explanation_from_message",
    "explanation_to_message",
    "generation_of",
    "knobs_from_map",
    "link_from_message",
    "link_to_message",
    "orders_of",
    "plan_diff_from_message",
    "plan_diff_to_message",
    "plan_from_message",
    "plan_to_message",
    "query_from_message",
    "query_to_message",
    "search_from_message",
    "search_to_message",
    "selection_from_message",
    "selection_to_message",
    "slo_from_message",
    "slo_to_message",
    "stand_by_from_message",
    "stand_by_to_message",
    "what_if_from_message",
    "what_if_to_message",
]

_LATER = ("explanation", "plan_diff", "search", "what_if")


def __getattr__(name: str) -> object:
    part = name.removesuffix("_from_message").removesuffix("_to_message")
    if part not in _LATER or name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{part}"), name)
