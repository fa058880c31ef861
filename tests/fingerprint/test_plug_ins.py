"""A plug-in is an installed distribution; whatever it does, it harms only its own child."""

from __future__ import annotations

import sys

import pytest

from circinus.model.device import Accelerator
from edge_agent.fingerprint import plug_ins
from edge_agent.fingerprint.plug_ins import ask_plug_ins

pytestmark = pytest.mark.slow

CODE = """
import os
def good():
    print("chatter")
    return [{"kind": "npu", "model": "Acme X1", "provider": "AcmeExecutionProvider", "slots": 2, "memory_bytes": 2**30,
             "more": "than is known"}]
def dies():
    os.kill(os.getpid(), 11)
def raises():
    raise RuntimeError("no such device")
def nonsense():
    return [{"kind": "npu"}]
def hangs():
    import time
    time.sleep(60)
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A tiny distribution, as pip would unpack it, and a Python that finds it."""
    (tmp_path / "acme.py").write_text(CODE)
    info = tmp_path / "acme-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    names = ("good", "dies", "raises", "nonsense", "hangs")
    lines = "".join(f"{name} = acme:{name}\n" for name in names)
    (info / "entry_points.txt").write_text(f"[{plug_ins.GROUP}]\n{lines}")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    return names


def test_installed_plug_ins_are_found(installed):
    assert plug_ins.plug_ins() == tuple(sorted(installed))


def test_a_plug_in_tells_of_its_accelerators(installed):
    answer = ask_plug_ins(("good",))["good"]
    assert answer.unknown == ""
    assert answer.accelerators == (
        Accelerator(kind="npu", model="Acme X1", provider="AcmeExecutionProvider", slots=2, memory_bytes=2**30),
    )


@pytest.mark.parametrize("name", ["dies", "raises", "nonsense", "missing"])
def test_a_plug_in_that_fails_has_told_nothing_and_that_is_said(installed, name):
    answer = ask_plug_ins((name,))[name]
    assert answer.accelerators == ()
    assert answer.unknown


def test_a_plug_in_that_hangs_is_ended(installed):
    answer = ask_plug_ins(("hangs",), timeout_s=3.0, python=(sys.executable, "-P"))["hangs"]
    assert "within 3 s" in answer.unknown
