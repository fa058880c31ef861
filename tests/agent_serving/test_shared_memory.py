"""Payloads in shared memory: bounded, sealed, passed through real processes, and gone with whoever is killed."""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from serving_fleet import BUNDLE, QUERY, replica_set

from circinus.model.directive import Generation
from circinus.model.pipeline import SOURCE, OperatorId
from circinus.payload import decode, pieces
from circinus.v1 import worker_pb2
from edge_agent.dataplane.batches import Batches, Output
from edge_agent.dataplane.item import Payload, Work
from edge_agent.dataplane.shared import SharedMemory, SharedPayload
from edge_agent.local_payloads import Incoming, Outgoing
from edge_agent.memory_files import file_sockets, map_file, write_file
from edge_agent.process import ProcessDied, ServingProcess
from edge_agent.runtime import Runtime

IMAGE = np.arange(300_000, dtype=np.float32).reshape(3, 100, 1000)
DATA = b"".join(pieces({"image": IMAGE, "number": 1}))


def open_files() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def no_leak():
    before = open_files()
    yield
    assert open_files() == before


@pytest.mark.usefixtures("no_leak")
class TestBounds:
    def test_what_is_let_go_of_is_free_again(self):
        memory = SharedMemory(from_bytes=1, max_bytes=4_000_000)
        held = memory.of_bytes([DATA])
        assert held is not None
        assert bytes(held) == DATA
        assert held[10:20] == DATA[10:20]
        assert len(held) == memory.used_bytes == len(DATA)
        del held
        gc.collect()
        assert memory.used_bytes == memory.used_files == 0

    def test_beyond_the_bound_payloads_stay_bytes(self):
        memory = SharedMemory(from_bytes=1, max_bytes=3 * len(DATA))
        held = [memory.of_bytes([DATA]), memory.of_bytes([DATA])]
        assert held[1] is not None
        assert memory.of_bytes([DATA]) is None
        with memory.reserved(len(DATA), 1) as granted:
            assert granted < len(DATA)

    def test_a_file_that_somebody_could_still_change_is_refused(self):
        unsealed = os.memfd_create("open", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        with pytest.raises(ValueError, match="without its seals"):
            SharedMemory().adopt(unsealed)

    def test_nobody_can_write_to_a_file_that_was_passed_on(self):
        file = write_file([DATA])
        with pytest.raises(PermissionError):
            os.pwrite(file, b"x", 0)
        with pytest.raises(ValueError, match="are more than the file"):
            map_file(file, 10, len(DATA))
        os.close(file)

    def test_a_mapping_outlives_its_file_descriptor(self):
        file = write_file([b"pad" * 7, DATA])
        view = map_file(file, 21, len(DATA))
        os.close(file)
        assert np.array_equal(decode(view)["image"], IMAGE)

    def test_a_message_that_names_files_which_did_not_come_is_refused(self):
        incoming = Incoming()
        with pytest.raises(ValueError, match="file 2 of 0 is not there"):
            incoming.segment(worker_pb2.Segment(file=2, size_bytes=4))
        ours, theirs = file_sockets()
        theirs.close()
        with pytest.raises(EOFError):
            ours.receive(1)
        ours.close()

    def test_payloads_that_end_together_share_a_file_and_stay_aligned(self):
        outgoing = Outgoing(worker_pb2.Sharing(from_bytes=1, most_bytes=10_000_000))
        places = outgoing.put_all([pieces({"image": IMAGE, "text": "a" * length}) for length in range(3)])
        assert len(outgoing.files) == 1
        incoming = Incoming(outgoing.files)
        for length, place in enumerate(places):
            found = decode(incoming.payload(place))
            assert np.array_equal(found["image"], IMAGE)
            assert found["image"].ctypes.data % 64 == 0
            assert found["text"] == "a" * length
        del found
        outgoing.close()


@pytest.fixture
async def processes(tmp_path: Path) -> AsyncIterator[list[ServingProcess]]:
    """Two replicas of an operator that gives on what it gets."""
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "toy_operators.py").write_text(BUNDLE)
    runtime = Runtime(
        run_dir=tmp_path / "run",
        speed_ratio=1.0,
        python_for=lambda _: Path(sys.executable),
        bundle_path=lambda _: tmp_path / "bundle",
        providers=(),
    )
    runtime.open()
    spec = replica_set("op", "Pass")
    started = await asyncio.gather(runtime.start_replica(spec), runtime.start_replica(spec))
    try:
        yield list(started)
    finally:
        for process in started:
            await process.stop(1.0)
        runtime.close()


async def through(process: ServingProcess, memory: SharedMemory, payload: Payload) -> Output:
    work = Work(
        request_id="camera-1",
        query_id=QUERY,
        generation=Generation(epoch=1, number=1),
        operator_id=OperatorId("op"),
        deadline_s=None,
        inputs={SOURCE: payload},
    )
    (output,) = (await Batches(memory).run(process, [work], 20.0)).outputs
    assert output is not None
    return output


@pytest.mark.slow
@pytest.mark.system
async def test_a_large_payload_passes_through_processes_in_shared_memory(processes: list[ServingProcess]) -> None:
    memory = SharedMemory()
    first = await through(processes[0], memory, DATA)
    assert isinstance(first.payload, SharedPayload)
    second = await through(processes[1], memory, first.payload)
    assert isinstance(second.payload, SharedPayload)
    assert np.array_equal(decode(bytes(second.payload))["image"], IMAGE)
    small = await through(processes[0], memory, b"".join(pieces({"number": 1})))
    assert isinstance(small.payload, bytes)
    off = await through(processes[0], SharedMemory(from_bytes=0), DATA)
    assert isinstance(off.payload, bytes)
    assert np.array_equal(decode(off.payload)["image"], IMAGE)


@pytest.mark.slow
@pytest.mark.system
async def test_a_killed_process_leaves_no_memory_behind(processes: list[ServingProcess]) -> None:
    names = set(os.listdir("/dev/shm"))
    memory = SharedMemory()
    held = await through(processes[0], memory, DATA)
    before = open_files()
    os.kill(processes[0].pid, signal.SIGKILL)
    with pytest.raises(ProcessDied):
        await through(processes[0], memory, held.payload)
    # Who made it is gone, and the payload is whole.
    assert np.array_equal(decode(bytes((await through(processes[1], memory, held.payload)).payload))["image"], IMAGE)
    await processes[0].gone
    assert open_files() <= before
    del held
    gc.collect()
    assert memory.used_bytes == memory.used_files == 0
    assert set(os.listdir("/dev/shm")) == names
