"""`--dry-run` of commands that change what is planned: the plans that would come of it, and nothing else."""

from __future__ import annotations

from typing import Annotated

import typer

from circinus.cli import exits
from circinus.cli.diff_table import diff_view
from circinus.cli.output import Output, emit, lines
from circinus.errors import CircinusError
from circinus.model.plan_diff import PlanDiff

DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show what plans would change; change nothing.")]


def tell_plans(output: Output, diff: PlanDiff | None) -> int:
    """Prints what would change in the plans; gives the exit code: 3 if fewer queries would have a plan.

    Raises:
        CircinusError: the planner did not tell.
    """
    if diff is None:
        raise CircinusError("the planner is too old to tell what changes; update it")
    emit(output, diff, lambda: lines(diff_view(diff), "", "nothing was changed: this was a dry run"))
    return exits.INFEASIBLE if diff.after.plans < diff.before.plans else exits.OK
