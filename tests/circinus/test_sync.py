"""The client that waits: the same methods and errors, without a loop of the caller's, and nothing left behind."""

from __future__ import annotations

import asyncio
import inspect
import threading

import pytest
from fake_planner import FakePlanner, a_plan, a_query_state, serve

from circinus.client import Client
from circinus.errors import NotFound, Unreachable
from circinus.sync import SyncClient


@pytest.fixture
def planner():
    found = FakePlanner()
    state = a_query_state(None, serving=True)
    state.plan.CopyFrom(a_plan())
    found.queries["gate"] = state
    server, address = serve(found)
    yield found, address
    server.stop(None).wait()


def test_every_call_of_the_client_is_there_with_the_same_arguments():
    for name, method in inspect.getmembers(Client, inspect.isfunction):
        if not name.startswith("_"):
            assert inspect.signature(getattr(SyncClient, name)) == inspect.signature(method), name


def test_a_call_gives_what_the_client_gives(planner):
    with SyncClient(planner[1]) as client:
        assert client.address == planner[1]
        assert client.status().generation == 3
        assert [state.query.id for state in client.queries()] == ["gate"]


def test_a_watch_ends_where_the_planner_ends_it(planner):
    with SyncClient(planner[1]) as client:
        assert [one.activity for one in client.watch_progress()] == ["profiling", "profiling", "rolling out", "idle"]


def test_a_watch_that_is_left_early_leaves_no_call(planner):
    with SyncClient(planner[1]) as client:
        for progress in client.watch_progress():
            assert progress.activity == "profiling"
            break
        assert client.status().activity == "idle"


def test_errors_are_those_of_the_client(planner):
    with SyncClient(planner[1]) as client, pytest.raises(NotFound, match="there is no query"):
        client.explain("nobody")
    with SyncClient("127.0.0.1:1", call_timeout_s=2.0) as client, pytest.raises(Unreachable, match="127.0.0.1:1"):
        client.status()


def test_a_client_that_is_not_open_says_so(planner):
    client = SyncClient(planner[1])
    with pytest.raises(Unreachable, match="with SyncClient"):
        client.status()
    with client:
        client.status()
    with pytest.raises(Unreachable, match="with SyncClient"):
        client.status()


async def test_it_works_where_a_loop_already_runs(planner):
    def use():
        with SyncClient(planner[1]) as client:
            return client.status().generation

    assert use() == 3
    assert await asyncio.to_thread(use) == 3


def test_no_thread_is_left_behind(planner):
    before = set(threading.enumerate())
    with SyncClient(planner[1]) as client:
        client.status()
        assert {thread.name for thread in set(threading.enumerate()) - before} >= {"circinus-client"}
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name == "circinus-client"]
