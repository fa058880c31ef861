"""What a process gives up before it loads anything: looked at in real children."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from isolated_child import run

from edge_agent.isolation import kernel
from edge_agent.isolation.orders import MAX_ORDERS_BYTES, ORDERS_VARIABLE, Orders

pytestmark = pytest.mark.slow
needs_landlock = pytest.mark.skipif(not kernel.landlock_version(), reason="the kernel has no Landlock")

_STATUS = """
import ctypes, json, resource
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
signal = ctypes.c_int()
ctypes.CDLL(None).prctl(2, ctypes.byref(signal), 0, 0, 0)
old = os.umask(0)
print(json.dumps({
    "rights": int(status["CapEff"], 16) | int(status["CapPrm"], 16) | int(status["CapInh"], 16),
    "no_new_rights": int(status["NoNewPrivs"]),
    "cores": resource.getrlimit(resource.RLIMIT_CORE),
    "umask": old,
    "oom": int(open("/proc/self/oom_score_adj").read()),
    "dumpable": ctypes.CDLL(None).prctl(3, 0, 0, 0, 0),
}))
"""


def test_a_process_keeps_nothing_that_it_does_not_need() -> None:
    assert run(_STATUS, oom_score_adj=700) == {
        "rights": 0,
        "no_new_rights": 1,
        "cores": [0, 0],
        "umask": 0o077,
        "oom": 700,
        "dumpable": 0,
    }


def test_orders_go_through_the_pipe_whole() -> None:
    orders = Orders(agent_pid=1, network=True, hidden="/state", shown=("bundles",), working=("run",), landlock=3)
    assert Orders.from_bytes(orders.to_bytes()) == orders
    assert len(orders.to_bytes()) < MAX_ORDERS_BYTES
    with pytest.raises(ValueError, match="no orders that this version knows"):
        Orders.from_bytes(b'{"agent_pid": 1}')


def test_a_process_whose_agent_is_gone_loads_nothing() -> None:
    code = "from edge_agent.isolation.orders import Orders, carry_out\ncarry_out(Orders(agent_pid=1))\nprint('went on')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_a_process_whose_agent_dies_before_it_says_anything_loads_nothing() -> None:
    reading, writing = os.pipe()
    os.close(writing)
    code = "from edge_agent.isolation.orders import obey\nobey()\nprint('went on')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        pass_fds=(reading,),
        env={**os.environ, ORDERS_VARIABLE: str(reading)},
    )
    os.close(reading)
    assert (done.returncode, done.stdout) == (0, "")


_FILES = """
import json
from pathlib import Path
def tried(step):
    try:
        step()
    except OSError as error:
        return error.strerror
    return "done"
state = Path({state!r})
print(json.dumps({{
    "key": tried((state / "identity/key.pem").read_bytes),
    "ledger": tried((state / "ledger.db").read_bytes),
    "ledger_gone": tried((state / "ledger.db").unlink),
    "bundle": tried((state / "bundles/a/code.py").read_bytes),
    "bundle_changed": tried(lambda: (state / "bundles/a/code.py").write_text("evil")),
    "run": tried(lambda: (state / "run/1").write_text("mine")),
    "moved": tried(lambda: (state / "run/1").rename(state / "profile/1")),
    "elsewhere": tried(lambda: (state.parent / "beside/new").write_text("mine")),
    "system": tried(Path("/etc/passwd").read_bytes),
    "agent": tried(Path(f"/proc/{{os.getppid()}}/environ").read_bytes),
}}))
"""


@needs_landlock
def test_of_the_agents_state_only_what_operators_need_is_there(tmp_path: Path) -> None:
    state = tmp_path / "way" / "state"
    for folder in ("identity", "bundles/a", "run", "profile"):
        (state / folder).mkdir(parents=True)
    (state.parent / "beside").mkdir()
    for file in ("identity/key.pem", "ledger.db", "bundles/a/code.py"):
        (state / file).write_text("held")
    found = run(
        _FILES.format(state=str(state)),
        landlock=kernel.landlock_version(),
        hidden=str(state),
        shown=("bundles",),
        working=("run", "profile"),
    )
    refused = "Permission denied"
    assert found == {
        "key": refused,
        "ledger": refused,
        "ledger_gone": refused,
        "bundle": "done",
        "bundle_changed": refused,
        "run": "done",
        "moved": "done",
        "elsewhere": "done",
        "system": "done",
        "agent": refused,
    }
    assert (state / "ledger.db").read_text() == "held"


@pytest.mark.skipif(kernel.landlock_version() < 6, reason="the kernel's Landlock knows no bounds for signals")
def test_no_signal_reaches_the_agent() -> None:
    code = (
        "import json, signal\n"
        "try:\n"
        "    os.kill(os.getppid(), 0)\n"
        "    print(json.dumps('sent'))\n"
        "except PermissionError:\n"
        "    print(json.dumps('refused'))\n"
    )
    assert run(code, landlock=kernel.landlock_version()) == "refused"


_IN_A_UNIT = """
import json, os, struct
from edge_agent.isolation import kernel
from edge_agent.isolation.orders import Orders, carry_out

def refusing(*numbers):
    code = struct.pack("=HBBI", 0x20, 0, 0, 0)
    for number in numbers:
        code += struct.pack("=HBBI", 0x15, 0, 1, number) + struct.pack("=HBBI", 0x06, 0, 0, 0x00050001)
    return code + struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000)

kernel.forgo_new_rights()
kernel.filter_calls(refusing(kernel._SYS_SECCOMP[os.uname().machine], 444, 445, 446))
found = {"filter": kernel.can_filter(), "landlock": kernel.landlock_version()}
carry_out(Orders(agent_pid=os.getppid()))
import socket
try:
    socket.socket(socket.AF_INET)
except PermissionError:
    found["network"] = "refused"
print(json.dumps(found))
"""


@pytest.mark.skipif(
    os.uname().machine not in kernel._SYS_SECCOMP or not kernel.can_filter(), reason="the kernel takes no filter here"
)
def test_inside_a_units_filter_the_older_way_is_taken() -> None:
    done = subprocess.run([sys.executable, "-c", _IN_A_UNIT], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"filter": True, "landlock": 0, "network": "refused"}
