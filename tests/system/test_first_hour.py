"""`circinus up` and `down` as a person types them: real daemons, from nothing to a status, and nothing left of them."""

import asyncio
import json
import os
import signal
import socket
import sys
from importlib import resources

import jsonschema
import psutil
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.system]


@pytest.fixture
def home(tmp_path):
    """An environment of a person who never used it."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith("CIRCINUS_") and name[:4] != "XDG_"
    } | {"HOME": str(tmp_path), "NO_COLOR": "1"}


async def start(home, *words):
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "circinus.cli.main",
        *words,
        env=home,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def run(home, *words):
    process = await start(home, *words)
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


def valid(document, name):
    schema = json.loads(resources.files("circinus.cli").joinpath("schema", f"{name}.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(document)


def left(tmp_path):
    """Processes that have to do with a folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(tmp_path) in " ".join(process.cmdline()):
                found.append(process.pid)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


async def test_it_comes_up_survives_who_started_it_goes_on_where_it_was_and_ends_without_a_trace(home, tmp_path):
    code, out, err = await run(home, "up", "--devices", "2", "--listen", "127.0.0.1:0", "--detach", "-o", "json")
    assert code == 0, err
    record = json.loads(out)
    valid(record, "up")
    assert (record["devices"], record["secure"], record["context"]) == (["edge-1", "cloud-1"], True, "local")
    # The next command just works.
    code, out, err = await run(home, "status", "-o", "json")
    assert (code, json.loads(out)["devices_connected"]) == (0, 2), err
    code, _, err = await run(home, "up", "--listen", "127.0.0.1:0")
    assert code == 1
    assert "is up already" in err
    # Who runs it is killed: its daemons are known, and ended all the same.
    root = tmp_path / ".local" / "state" / "circinus" / "up" / "planner" / "root.pem"
    before = root.read_bytes()
    psutil.Process(record["pid"]).kill()
    code, out, _ = await run(home, "down", "-o", "json")
    assert code == 0
    valid(json.loads(out), "down")
    assert set(json.loads(out)["ended"]) == {"planner", "edge-1", "cloud-1"}
    assert left(tmp_path) == []
    # Again, at a terminal: the same devices, with the identities that they had; Ctrl-C ends it.
    up = await start(home, "up", "--listen", "127.0.0.1:0")
    try:
        told = [await asyncio.wait_for(up.stdout.readline(), 90)]
        while not told[-1].startswith(b"Ctrl-C"):
            told.append(await asyncio.wait_for(up.stdout.readline(), 10))
            assert told[-1]
        assert b"circinus status" in b"".join(told)
        code, out, err = await run(home, "device", "ls", "-o", "name")
        assert (code, out.split()) == (0, ["cloud-1", "edge-1"]), err
        assert root.read_bytes() == before
    finally:
        up.send_signal(signal.SIGINT)
        await up.communicate()
    assert up.returncode == 0
    assert left(tmp_path) == []


async def test_a_taken_port_is_one_message_and_nothing_is_started(home, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, out, err = await run(home, "up", "--listen", f"127.0.0.1:{port}", "-o", "json")
    assert code == 4
    assert f"port {port} is taken" in json.loads(out)["error"]["message"]
    assert "--listen" in err
    assert "Traceback" not in err
    assert left(tmp_path) == []
