"""What a real operator's process can and can't do, and what is left of it: nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from circinus.model.device import Digest
from circinus.model.directive import ReplicaSet
from circinus.model.pipeline import SOURCE, OperatorId, PipelineId
from circinus.model.query import QueryId
from circinus.operator import Payload
from circinus.payload import decode, encode
from circinus.v1 import worker_pb2
from edge_agent import cgroups
from edge_agent.isolation import kernel
from edge_agent.isolation.config import IsolationConfig, SandboxKind
from edge_agent.isolation.isolation import OOM_SERVING, Isolation
from edge_agent.isolation.system_calls import MACHINES
from edge_agent.process import ProcessDied, ServingProcess
from edge_agent.runtime import Runtime

pytestmark = [pytest.mark.slow, pytest.mark.system]

OPERATORS = '''
import os, signal, subprocess, sys, time
from pathlib import Path
from circinus.operator import Operator

class Pass(Operator):
    def process(self, inputs):
        return inputs["source"]

class Leak(Operator):
    """Takes memory until it is stopped."""
    def process(self, inputs):
        held = []
        while True:
            held.append(bytearray(b"x" * 20_000_000))
            time.sleep(self.knobs.get("pause_s", 0.0))

class Dial(Operator):
    def process(self, inputs):
        import urllib.request
        urllib.request.urlopen(inputs["source"]["address"], timeout=5.0)
        return {}

class Forks(Operator):
    """Has a child that left its process group, and one that didn't."""
    def process(self, inputs):
        sleeps = [sys.executable, "-c", "import time; time.sleep(600)"]
        return {"pids": " ".join(str(subprocess.Popen(sleeps, start_new_session=own).pid) for own in (True, False))}

class Look(Operator):
    def process(self, inputs):
        def tried(path):
            try:
                return str(len(Path(path).read_bytes()))
            except OSError as error:
                return error.strerror
        said = {
            "variables": " ".join(sorted(os.environ)),
            "files": " ".join(sorted(os.readlink(f"/proc/self/fd/{one}") for one in os.listdir("/proc/self/fd")
                                     if os.path.exists(f"/proc/self/fd/{one}"))),
            "agent": tried(f"/proc/{os.getppid()}/environ"),
            "oom": Path("/proc/self/oom_score_adj").read_text().strip(),
            "folder": os.getcwd(),
            "home": os.environ["HOME"],
            "tmp": str(len(os.listdir("/tmp"))),
            "processes": str(sum(name.isdigit() for name in os.listdir("/proc"))),
        }
        for path in inputs["source"].get("paths", "").split():
            said[path] = tried(path)
        for path in inputs["source"].get("written", "").split():
            try:
                Path(path).write_text("x")
                said[path] = "written"
            except OSError as error:
                said[path] = error.strerror
        return said
'''
needs_filter = pytest.mark.skipif(
    os.uname().machine not in MACHINES or not kernel.can_filter(), reason="the kernel takes no filter here"
)


def why_no_sandbox() -> str:
    """Why bubblewrap can't be tried here; empty: it can."""
    found = shutil.which("bwrap")
    if found is None:
        return "bwrap is not installed"
    tried = subprocess.run(
        [found, "--unshare-all", "--ro-bind", "/", "/", "/bin/true"], capture_output=True, text=True, check=False
    )
    return "" if tried.returncode == 0 else f"bwrap can't make a sandbox here: {tried.stderr.strip()}"


NO_SANDBOX = why_no_sandbox()
needs_sandbox = pytest.mark.skipif(bool(NO_SANDBOX), reason=NO_SANDBOX)


class Box:
    """A runtime with its processes; all of them end with it."""

    def __init__(self, folder: Path, config: IsolationConfig) -> None:
        self.state = folder / "state"
        self.bundle = self.state / "bundles" / "b"
        self.bundle.mkdir(parents=True)
        (self.bundle / "ops.py").write_text(OPERATORS)
        (self.state / "identity").mkdir()
        (self.state / "identity" / "key.pem").write_text("secret")
        self.isolation = Isolation(config, state_dir=self.state)
        self.runtime = Runtime(
            run_dir=self.state / "run",
            speed_ratio=1.0,
            python_for=lambda _: Path(sys.executable),
            bundle_path=lambda _: self.bundle,
            providers=(),
            isolation=self.isolation,
        )
        self.runtime.open()
        self._started: list[ServingProcess] = []

    async def start(self, class_name: str, **changes: Any) -> ServingProcess:
        values = {
            "key": class_name,
            "query_id": QueryId("q"),
            "pipeline_id": PipelineId("p"),
            "operator_id": OperatorId("op"),
            "bundle_digest": Digest("sha256:b"),
            "environment_digest": Digest("sha256:e"),
            "entry_point": f"ops:{class_name}",
            "knobs": {},
            "replicas": 1,
            "cores": 1.0,
            "accelerator_slots": 0,
            "accelerator_memory_bytes": 0,
            "memory_bytes": 0,
            "batch": 1,
            "hang_ms": 30_000.0,
            "inputs": (SOURCE,),
        }
        process = await self.runtime.start_replica(ReplicaSet(**(values | changes)))
        self._started.append(process)
        return process

    async def stop(self) -> None:
        for process in self._started:
            await process.stop(1.0)
        self.runtime.close()


@pytest.fixture
async def make_box(tmp_path: Path) -> AsyncIterator[Callable[..., Box]]:
    made: list[Box] = []
    before = set(psutil.Process().children(recursive=True))

    def make(**config: Any) -> Box:
        made.append(Box(tmp_path / str(len(made)), IsolationConfig(**config)))
        return made[-1]

    yield make
    for box in made:
        await box.stop()
    assert set(psutil.Process().children(recursive=True)) <= before
    assert left_groups(os.getpid()) == []


def left_groups(pid: int) -> list[Path]:
    """Control groups of an agent."""
    bases = cgroups.detect()
    return [] if bases is None else [path for base in bases.folders.values() for path in base.glob(f"circinus-{pid}-*")]


def own_oom_score_adj() -> int:
    return int(Path("/proc/self/oom_score_adj").read_text())


async def ask(process: ServingProcess, **payload: Any) -> tuple[Payload, str]:
    """What an operator made of an item, or its error."""
    item = worker_pb2.WorkItem(request_id="1", inputs={"source": encode(payload)})
    reply = await process.call(worker_pb2.WorkerRequest(run=worker_pb2.RunBatch(items=[item])), 60.0)
    (result,) = reply.result.results
    return (decode(result.payload) if not result.error else {}), result.error


async def until(condition: Callable[[], bool], within_s: float = 20.0) -> None:
    """Waits for something that happens in other processes."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - nobody tells when
            await asyncio.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def test_what_leaks_is_killed_at_its_limit_and_its_neighbour_is_not(make_box: Callable[..., Box]) -> None:
    box = make_box()
    neighbour, leaking = await box.start("Pass"), await box.start("Leak", memory_bytes=10_000_000)
    with pytest.raises(ProcessDied, match=r"^killed: over its memory limit of 288 MB$"):
        await ask(leaking, number=1)
    assert (await ask(neighbour, number=2))[0] == {"number": 2}


async def test_without_control_groups_the_agent_watches(
    make_box: Callable[..., Box], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroups, "detect", lambda: None)
    box = make_box()
    assert box.isolation.facts()["memory"] == "watched by the agent"
    leaking = await box.start("Leak", memory_bytes=10_000_000, knobs={"pause_s": 0.02})
    with pytest.raises(ProcessDied, match="killed: over its memory limit of 288 MB"):
        await ask(leaking, number=1)


@needs_filter
async def test_a_connection_to_elsewhere_fails_with_what_to_declare(make_box: Callable[..., Box]) -> None:
    box = make_box()
    _, error = await ask(await box.start("Dial"), address="http://127.0.0.1:9/")
    assert error.startswith("operator_raised: URLError")
    assert "no network here: an operator has it only if pipeline.yaml says network: true (" in error


async def test_an_operator_that_declares_the_network_has_it(make_box: Callable[..., Box]) -> None:
    box = make_box()
    declared = {"operators": [{"id": "op", "network": True}, {"id": "other"}]}
    (box.bundle / "pipeline.json").write_text(json.dumps(declared))
    answered: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answered.append(await reader.readline())
        writer.write(b"HTTP/1.0 200 OK\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    try:
        assert (await ask(await box.start("Dial"), address=address))[1] == ""
        assert answered == [b"GET / HTTP/1.1\r\n"]
        _, error = await ask(await box.start("Dial", operator_id=OperatorId("other")), address=address)
        assert "network: true" in error or not box.isolation.facts()["network"].startswith("only")
    finally:
        server.close()
        await server.wait_closed()


async def test_nothing_that_an_operator_started_outlives_it(make_box: Callable[..., Box]) -> None:
    box = make_box()
    has_groups = bool(left_groups(os.getpid()) or box.isolation.facts()["memory"].startswith("cgroup"))
    forking = await box.start("Forks")
    escaped, stayed = (int(word) for word in (await ask(forking))[0]["pids"].split())
    await forking.stop(1.0)
    await until(lambda: gone(stayed))
    if has_groups:
        await until(lambda: gone(escaped))
    else:
        os.kill(escaped, signal.SIGKILL)


async def test_an_operator_sees_none_of_the_agents_secrets(
    make_box: Callable[..., Box], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CIRCINUS_TOKEN", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("MODEL_CACHE", "/models")
    box = make_box(variables=("MODEL_CACHE",))
    held = os.open("/etc/hostname", os.O_RDONLY)
    os.set_inheritable(held, True)
    try:
        looking = await box.start("Look")
        found, error = await ask(looking)
    finally:
        os.close(held)
    assert error == ""
    seen = found["variables"].split()
    assert {"PATH", "MODEL_CACHE", "OMP_NUM_THREADS"} <= set(seen)
    assert not {"CIRCINUS_TOKEN", "AWS_SECRET_ACCESS_KEY", "CIRCINUS_ORDERS_FD"} & set(seen)
    assert "/etc/hostname" not in found["files"].split()
    assert found["agent"] == "Permission denied"
    assert found["oom"] == str(OOM_SERVING)
    assert own_oom_score_adj() < OOM_SERVING
    assert Path(found["folder"]).parent == box.state / "run"
    folder = Path(found["folder"])
    await looking.stop(1.0)
    await until(lambda: not folder.exists())


async def test_nobody_answers_for_an_operator_but_its_own_process(
    make_box: Callable[..., Box], monkeypatch: pytest.MonkeyPatch
) -> None:
    box = make_box()
    begin = box.isolation.start
    strangers: list[socket.socket] = []

    async def start(*arguments: Any, **options: Any) -> Any:
        # As another operator could: the folder is known, and a socket can be dialled wherever it is seen.
        strangers.append(socket.socket(socket.AF_UNIX))
        strangers[-1].connect(str(options["folder"] / "socket"))
        await asyncio.sleep(0)
        return await begin(*arguments, **options)

    monkeypatch.setattr(box.isolation, "start", start)
    try:
        assert (await ask(await box.start("Pass"), number=2))[0] == {"number": 2}
    finally:
        for stranger in strangers:
            stranger.close()


_AGENT = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_isolation import Box, ask
from edge_agent.isolation.config import IsolationConfig, SandboxKind
async def main():
    box = Box(Path(sys.argv[1]), IsolationConfig(sandbox=SandboxKind(sys.argv[2])))
    forking, other = await box.start("Forks"), await box.start("Pass")
    await ask(forking)
    print(forking.pid, other.pid, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


@pytest.mark.parametrize("sandbox", [SandboxKind.NONE, pytest.param(SandboxKind.BUBBLEWRAP, marks=needs_sandbox)])
async def test_a_killed_agent_takes_all_with_it(tmp_path: Path, sandbox: SandboxKind) -> None:
    script = tmp_path / "agent.py"
    script.write_text(_AGENT.format(tests=str(Path(__file__).parent)))
    agent = await asyncio.create_subprocess_exec(
        sys.executable, str(script), str(tmp_path / "box"), sandbox, stdout=asyncio.subprocess.PIPE
    )
    assert agent.stdout is not None
    serving, other = (int(word) for word in (await agent.stdout.readline()).split())
    started = psutil.Process(agent.pid).children(recursive=True)
    shells = [child.pid for child in started if "undertaker.sh" in " ".join(child.cmdline())]
    assert len(shells) == 1
    # Two serving processes, the shell, and what one of the two has started.
    assert len(started) >= 5
    has_groups = bool(left_groups(agent.pid))
    agent.kill()
    await agent.wait()
    await until(lambda: gone(serving) and gone(other), 5.0)
    if has_groups or sandbox is SandboxKind.BUBBLEWRAP:
        await until(lambda: all(gone(child.pid) for child in started))
        await until(lambda: left_groups(agent.pid) == [])
    for child in started:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()


@pytest.mark.skipif(not kernel.landlock_version(), reason="the kernel has no Landlock")
async def test_the_agents_identity_is_hidden_where_its_state_is_out_of_the_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    try:
        folder = Path(tempfile.mkdtemp(prefix="circinus-test-", dir="/var/lib"))
    except OSError as error:
        pytest.skip(f"no folder can be made in /var/lib: {error}")
    monkeypatch.setenv("HOME", str(folder / "state"))
    box = Box(folder, IsolationConfig())
    try:
        assert box.isolation.facts()["state"] == "hidden"
        key, code = box.state / "identity" / "key.pem", box.bundle / "ops.py"
        others = [box.state / "bundles" / "c" / "ops.py", box.state / "samples" / "c" / "1"]
        for path in others:
            path.parent.mkdir(parents=True)
            path.write_text("of another pipeline")
        await box.start("Pass")
        # Where the agent makes folders, and where it has written for another operator.
        planted = [box.state / "run" / "9", box.state / "run" / "1" / "config"]
        looking = await box.start("Look")
        written = " ".join(map(str, [code, *planted]))
        read = " ".join(map(str, [key, *others]))
        found, error = await ask(looking, paths=f"{read} /etc/passwd", written=f"{written} x /tmp/circinus-x")
        assert error == ""
        assert {found[str(path)] for path in (key, code, *others, *planted)} == {"Permission denied"}
        assert [found[path] for path in ("x", "/tmp/circinus-x")] == ["written", "written"]
        assert found["/etc/passwd"].isdigit()
        assert found["home"] == found["folder"]
    finally:
        await box.stop()
        shutil.rmtree(folder)
        with contextlib.suppress(FileNotFoundError):
            os.unlink("/tmp/circinus-x")


@needs_sandbox
async def test_in_a_sandbox_there_is_only_what_an_operator_needs(make_box: Callable[..., Box]) -> None:
    box = make_box(sandbox=SandboxKind.BUBBLEWRAP)
    key, code = box.state / "identity" / "key.pem", box.bundle / "ops.py"
    beside = box.state.parent / "beside.txt"
    beside.write_text("x")
    looking = await box.start("Look")
    found, error = await ask(looking, paths=f"{key} {code} {beside}", written=f"{code} /etc/x /tmp/x x")
    assert error == ""
    gone_there = "No such file or directory"
    assert [found[str(path)] for path in (key, beside)] == [gone_there, gone_there]
    assert found[str(code)] == "Read-only file system"
    assert [found[path] for path in ("/etc/x", "/tmp/x", "x")] == ["Read-only file system", "written", "written"]
    assert int(found["processes"]) <= 3
    _, error = await ask(await box.start("Dial"), address="http://127.0.0.1:9/")
    assert error.startswith("operator_raised: URLError")
    with pytest.raises(ProcessDied, match="killed: over its memory limit"):
        await ask(await box.start("Leak", memory_bytes=10_000_000), number=1)


async def test_a_sandbox_that_can_not_be_had_lets_nothing_start(
    make_box: Callable[..., Box], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    box = make_box(sandbox=SandboxKind.BUBBLEWRAP)
    with pytest.raises(Exception, match='sandbox = "bwrap", but bwrap is not installed'):
        await box.start("Pass")
