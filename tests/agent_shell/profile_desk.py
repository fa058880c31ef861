"""A profiler that runs, and who takes what it says."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
from shell_fakes import DEADLINE_S, BlobShelf

from circinus.wire import configuration_profile_from_message
from edge_agent.blobs import Blobs
from edge_agent.profiler import Profiler


class Desk:
    """Takes what a profiler says."""

    def __init__(self) -> None:
        self.reports = []
        self.progress = []
        self._news = asyncio.Event()

    def take(self, message):
        (self.reports if message.WhichOneof("message") == "profile_report" else self.progress).append(message)
        self._news.set()

    async def ended(self, request_id="profile-1"):
        async with asyncio.timeout(DEADLINE_S * 2):
            while True:
                for message in self.reports:
                    if message.profile_report.done and message.profile_report.id == request_id:
                        return message.profile_report.error
                self._news.clear()
                await self._news.wait()

    def operator_s(self, request_id="profile-1"):
        """What a request took, by its reports."""
        return sum(
            message.profile_report.operator_s for message in self.reports if message.profile_report.id == request_id
        )

    def results(self, of=None):
        """Samples and memory by knobs, of one request or of all."""
        found = {}
        for message in self.reports:
            if of not in (None, message.profile_report.id):
                continue
            for part in message.profile_report.configurations:
                profile = configuration_profile_from_message(part)
                key = tuple(sorted(profile.configuration.items()))
                samples, memory = found.setdefault(key, ({}, {}))
                samples.update({sample.sample_index: sample for sample in profile.samples})
                memory.update(profile.memory_bytes)
        return found


@contextlib.asynccontextmanager
async def running(
    tmp_path, desk, *blobs, python=lambda digest: Path(sys.executable), **fields
) -> AsyncIterator[Profiler]:
    store = Blobs(tmp_path / "state", BlobShelf(*blobs))
    store.prepare()
    profiler = Profiler(
        blobs=store,
        python_for=python,
        run_dir=tmp_path / "profile",
        speed_ratio=0.5,
        providers=("CPUExecutionProvider",),
        deliver=desk.take,
        tell=desk.take,
        **fields,
    )
    task = asyncio.create_task(profiler.run())
    try:
        yield profiler
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert psutil.Process().children(recursive=True) == []


def key_of(megabytes, mode):
    return (("shout.mode", mode), ("twice.megabytes", megabytes))
