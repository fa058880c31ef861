"""Where the dashboard listens, and a planner that has none."""

import contextlib
import socket
import ssl

import pytest
from dashboard_fleet import Board, ask

from circinus import events
from circinus.errors import InvalidInput, Unreachable
from cloud_planner.dashboard import place
from cloud_planner.dashboard.place import Place, beside, bound


@contextlib.contextmanager
def taken():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


def test_it_is_near_the_planner_on_loopback():
    assert beside("0.0.0.0:7400").listen == "127.0.0.1:7402"
    assert beside("127.0.0.1:0") == Place(listen="127.0.0.1:0")
    assert beside("127.0.0.1:65535") == Place(listen="127.0.0.1:0")


def test_a_port_that_is_taken_leaves_the_next_ones():
    with taken() as port, bound(Place(listen=f"127.0.0.1:{port}", further=(0,)), loopback_only=True) as found:
        assert found.getsockname()[1] != port


def test_a_port_that_was_asked_for_and_is_taken_is_said(tmp_path):
    with taken() as port, pytest.raises(Unreachable, match="--dashboard-listen"):
        bound(Place(listen=f"127.0.0.1:{port}"), loopback_only=True)


def test_in_the_clear_it_listens_on_loopback_only():
    with pytest.raises(InvalidInput):
        bound(Place(listen="0.0.0.0:0"), loopback_only=True)


@pytest.mark.slow
def test_without_its_packages_a_planner_runs_and_says_so_once(tmp_path, monkeypatch):
    monkeypatch.setattr(place, "_NEEDS", ("starlette", "no_such_package"))
    heard = []
    with (
        events.heard_by(lambda name, fields, warning: heard.append((name, fields))),
        Board(tmp_path, fleet=False) as board,
    ):
        assert board.address == ""
    assert [fields["missing"] for name, fields in heard if name == "dashboard_left_out"] == ["no_such_package"]


@pytest.mark.slow
def test_a_browser_that_knows_the_root_finds_localhost_in_the_certificate(tmp_path):
    with Board(tmp_path, fleet=False, insecure_loopback=False) as board:
        root = (board.folder / "state" / "root.pem").read_text()
        context = ssl.create_default_context(cadata=root)
        port = board.address.rpartition(":")[2]
        for host in ("127.0.0.1", "localhost"):
            assert ask(f"https://{host}:{port}/sign-in", context=context).status == 200
