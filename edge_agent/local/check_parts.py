"""Whether an operator that is run for each part gives the same as for all parts at once: profiles are of the latter."""

from __future__ import annotations

import sys
from typing import Any

from circinus import layout
from circinus.operator import Operator
from circinus.parts import cut, join
from circinus.payload import decode, from_views, views

#: Sums of many numbers come out a little different in another order.
_RELATIVE, _ABSOLUTE = 1e-3, 1e-5


def parts_differ(operator: Operator, input_name: str, data: bytes, by: str, whole: bytes) -> str:
    """What is different if the operator has an input's parts one by one, against its output for all; empty: nothing.

    Raises whatever the operator raises for a part.
    """
    made = [operator.process({input_name: from_views(part)}) for part in cut(layout.read(data), by)]
    try:
        found = from_views(join([views(output) for output in made]))
    except ValueError as error:
        return str(error)
    expected = decode(whole)
    for name in sorted(found.keys() | expected.keys()):
        if name not in found or name not in expected:
            return f"field {name!r} is there only {'with all parts' if name in expected else 'part by part'}"
        if reason := _differs(found[name], expected[name]):
            return f"field {name!r} {reason}"
    return ""


def _differs(found: Any, expected: Any) -> str:
    if type(found) is not type(expected):
        return f"is {type(found).__name__} part by part and {type(expected).__name__} with all parts"
    if not hasattr(expected, "dtype"):
        return "" if found == expected else "has another value"
    if (found.dtype, found.shape) != (expected.dtype, expected.shape):
        return f"is {found.dtype} of shape {found.shape} part by part, {expected.dtype} of {expected.shape} with all"
    numpy = sys.modules["numpy"]  # it is there: somebody has made arrays
    if expected.dtype.kind == "f":
        same = numpy.allclose(found, expected, rtol=_RELATIVE, atol=_ABSOLUTE, equal_nan=True)
    else:
        same = numpy.array_equal(found, expected)
    return "" if same else "has other numbers"
