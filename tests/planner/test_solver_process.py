"""The process that a solver runs in: whatever the solver does, there is an answer, and a selection."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import solver_faults

from circinus.model.plan import Interval
from circinus.model.query import Slo
from cloud_planner.core.audit import audit
from cloud_planner.core.problem import Candidate, Delay, Machine, Option, Problem, QueryProblem, Step
from cloud_planner.core.select import select
from cloud_planner.core.select.milp import Milp, MilpStatus, Row, Sense, Work
from cloud_planner.solver import ThoroughSolver
from cloud_planner.solver_process import Fault, LimitedProcess, ProcessFault, ProcessSolver, SolverLimits

pytestmark = [pytest.mark.slow, pytest.mark.system]

PATIENT = SolverLimits(hang_s=60.0, memory_bytes=512 * 2**20)
QUICK = SolverLimits(hang_s=1.0, grace_s=0.5)
MILP = Milp(
    lower=(0.0, 0.0),
    upper=(3.0, 3.0),
    integer=(True, False),
    objective=(2.0, 1.0),
    maximize=True,
    rows=(Row(terms=((0, 2.0), (1, 1.0)), sense=Sense.AT_MOST, rhs=3.5),),
)


@pytest.fixture
def process():
    made = LimitedProcess()
    yield made
    made.close()


@pytest.fixture
def solver_of():
    made = []

    def of(solver, limits=PATIENT):
        made.append(ProcessSolver(solver, limits))
        return made[-1]

    yield of
    for each in made:
        each.close()


def contended():
    """Three queries for a machine that can hold two: all of the programme's stages have something to do."""
    option = Option(machine="m", cores=1.0, service=Delay(mean_ms=10.0), capacity_per_s=100.0)
    step = Step(operator_id="a", inputs=("source",), output_bytes=0.0, options=(option,))
    candidate = Candidate(
        configuration={},
        accuracy=Interval(value=0.9, low=0.9, high=0.9),
        steps=(step,),
        source_bytes=0.0,
        outputs=("a",),
    )
    return Problem(
        machines=(Machine(id="m", tier="edge", site="s", cores=2.0, memory_bytes=0, price_per_h=1.0),),
        wires=(),
        queries=tuple(
            QueryProblem(id=f"q{n}", rate_per_s=1.0 + n, weight=1.0, slo=Slo(), source=None, candidates=(candidate,))
            for n in range(3)
        ),
    )


def test_a_function_runs_elsewhere_and_its_process_stays(process):
    first = process.call(solver_faults.pid_of, None, seconds=10.0)
    assert first not in (os.getpid(), None)
    assert first == process.pid == process.call(solver_faults.pid_of, None, seconds=10.0)
    assert process.call(solver_faults.double, "ab" * 10**6, seconds=10.0) == "ab" * 2 * 10**6


def test_what_cannot_come_back_is_told(process):
    with pytest.raises(ProcessFault, match="can't be sent") as caught:
        process.call(solver_faults.no_answer, None, seconds=10.0)
    assert caught.value.fault is Fault.RAISED
    assert process.call(solver_faults.double, 1, seconds=10.0) == 2


def test_threads_take_turns(process):
    found = []
    threads = [
        threading.Thread(target=lambda n=n: found.append(process.call(solver_faults.double, n, seconds=10.0)))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [0, 2, 4, 6, 8, 10, 12, 14]


def test_closing_ends_a_call_in_progress(process):
    process.start()
    caught = []

    def call():
        try:
            process.call(solver_faults.nap, 60.0, seconds=60.0)
        except ProcessFault as fault:
            caught.append(fault.fault)

    thread = threading.Thread(target=call)
    thread.start()
    process.close()
    thread.join(timeout=10.0)
    # Closed before the call began, it is started anew: then the second closing ends it.
    process.close()
    thread.join(timeout=10.0)
    assert caught == [Fault.CRASHED]


def test_it_ends_with_its_parent_even_in_code_that_cannot_be_interrupted(tmp_path):
    told = tmp_path / "pid"
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import solver_faults\n"
        "from cloud_planner.solver_process import LimitedProcess\n"
        "LimitedProcess().call(solver_faults.outlive, sys.argv[2], seconds=60.0)\n"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", code, str(Path(__file__).parent), str(told)], cwd=root) as parent:
        deadline = time.monotonic() + 30.0
        while not (told.exists() and told.read_text()) and time.monotonic() < deadline:
            time.sleep(0.02)
        child = int(told.read_text())
        os.kill(child, 0)
        parent.send_signal(signal.SIGKILL)
    while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
        state = Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[0]
        if state == "Z":  # nobody here reaps it
            break
        time.sleep(0.02)
    else:
        assert not Path(f"/proc/{child}").exists()


def test_a_sound_solver_gives_the_same_answer_there_as_here(solver_of):
    solver = ThoroughSolver()
    assert solver_of(solver).solve(MILP, Work()) == solver.solve(MILP, Work())


FAULTS = {
    "crash": (solver_faults.Crashing(), "solver crashed: signal 6"),
    "hang": (solver_faults.Hanging(), "solver hung: no answer within 1 s"),
    "memory": (solver_faults.Hungry(), "solver out of memory: it needs more than the 512 MiB that it may have"),
    "memory in C": (solver_faults.HungryInC(), "solver out of memory"),
    "lie": (solver_faults.Lying({"values": (9.0,) * 3}), "solver answered wrongly: column 0 is 9"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_whatever_a_solver_does_a_selection_stands_and_names_it(name, solver_of):
    solver, told = FAULTS[name]
    problem = contended()
    selection = select(problem, solver_of(solver, QUICK if name == "hang" else PATIENT)).selection
    assert audit(problem, selection) == ()
    assert selection.goodput_per_s == pytest.approx(5.0)
    assert told in selection.solver_status


def test_a_solver_that_failed_once_is_tried_again(solver_of, tmp_path):
    solver = solver_of(solver_faults.Once(str(tmp_path / "there")))
    assert solver.solve(MILP, Work()).status is MilpStatus.FAILED
    assert solver.solve(MILP, Work()).objective == pytest.approx(3.5)


def test_a_time_limit_has_its_grace(solver_of):
    result = solver_of(solver_faults.Hanging(), QUICK).solve(MILP, Work(max_seconds=0.25))
    assert result.detail == "solver hung: no answer within 0.75 s"
