"""Answers of solvers held against the programmes that they are for."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_planner.core.select.milp import Milp, MilpResult, MilpStatus, Row, Sense
from cloud_planner.solver_check import TOLERANCE, checked, fault_of

MILP = Milp(
    lower=(0.0, 0.0),
    upper=(3.0, 3.0),
    integer=(True, False),
    objective=(2.0, 1.0),
    maximize=True,
    rows=(
        Row(terms=((0, 2.0), (1, 1.0)), sense=Sense.AT_MOST, rhs=3.5),
        Row(terms=((1, 1.0),), sense=Sense.AT_LEAST, rhs=0.5),
    ),
)
RIGHT = MilpResult(status=MilpStatus.OPTIMAL, values=(1.0, 1.5), objective=3.5, bound=3.5)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"values": (2.0, 1.0)}, "row 0 is 5, but must be <= 3.5"),
        ({"values": (1.0, 0.0)}, "row 1 is 0, but must be >= 0.5"),
        ({"values": (1.0, 9.0)}, "column 1 is 9, outside 0..3"),
        ({"values": (0.5, 1.0)}, "column 0 is 0.5, no whole number"),
        ({"values": (1.0,)}, "1 values for 2 columns"),
        ({"values": (float("nan"), 0.0)}, "column 0 is nan"),
        ({"objective": 3.6}, "its values are worth 3.5, it claims 3.6"),
        ({"objective": float("nan")}, "its values are worth 3.5, it claims nan"),
        ({"bound": 3.0}, "its objective 3.5 is better than its bound 3"),
        ({"bound": float("nan")}, "its bound is no number"),
    ],
)
def test_what_cannot_be_true_is_a_failure_that_says_so(changes, told):
    found = checked(MILP, replace(RIGHT, **changes))
    assert (found.status, found.values) == (MilpStatus.FAILED, ())
    assert found.detail.startswith("solver answered wrongly: ")
    assert told in found.detail


def test_what_may_be_true_is_left_as_it_is():
    infeasible = MilpResult(status=MilpStatus.INFEASIBLE, values=(), objective=0.0, bound=0.0)
    failed = MilpResult(status=MilpStatus.FAILED, values=(), objective=0.0, bound=0.0, detail="why")
    open_end = MilpResult(status=MilpStatus.NO_SOLUTION, values=(), objective=0.0, bound=float("inf"))
    for result in (RIGHT, infeasible, failed, open_end):
        assert checked(MILP, result) is result
    assert "calls infeasible what its start solves" in fault_of(replace(MILP, start=(1.0, 1.5)), infeasible)


@given(
    off=st.floats(-0.5 * TOLERANCE, 0.5 * TOLERANCE),
    size=st.sampled_from([1.0, 1e3, 1e6]),
    sense=st.sampled_from(list(Sense)),
)
def test_what_a_solver_s_tolerance_does_to_a_large_row_is_no_lie(off, size, sense):
    """A whole number that is off by a millionth puts a row with a coefficient of a million off by one."""
    milp = Milp(
        lower=(0.0,),
        upper=(10.0,),
        integer=(True,),
        objective=(0.0,),
        maximize=False,
        rows=(Row(terms=((0, size),), sense=sense, rhs=4.0 * size),),
    )
    result = MilpResult(status=MilpStatus.OPTIMAL, values=(4.0 + off,), objective=0.0, bound=0.0)
    assert fault_of(milp, result) == ""
    assert fault_of(milp, replace(result, values=(6.0 if sense is Sense.AT_MOST else 2.0,))) != ""
