"""What is told of isolation, and what of it depends on where things are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from circinus.errors import InvalidInput
from circinus.model.diagnosis import Grade
from edge_agent import diagnose
from edge_agent.cgroups import MEMORY, Bases, Cgroups
from edge_agent.config import parse_config
from edge_agent.isolation.bubblewrap import Sandbox, command
from edge_agent.isolation.config import USUAL, IsolationConfig, SandboxKind
from edge_agent.isolation.declared import needs_network
from edge_agent.isolation.facts import Means, facts_of, in_force, tell, weaknesses, why_exposed
from edge_agent.isolation.variables import variables

BOX = 'device_id = "here"\nstate_dir = "state"\ntier = "edge"\ninsecure_loopback = true\n'


def test_nothing_is_claimed_that_is_not_there() -> None:
    said = facts_of(Means(unfiltered="the kernel takes no filter", exposed="the kernel has no Landlock"))
    assert said == {
        "cpu": "pacing alone",
        "memory": "watched by the agent",
        "tasks": "not limited",
        "system_calls": "all: the kernel takes no filter",
        "network": "open to all",
        "state": "readable: the kernel has no Landlock",
        "sandbox": "none",
    }
    assert {about for about, _ in weaknesses(said)} == {"memory", "tasks", "system_calls", "network", "state"}


def test_each_controller_is_told_by_itself(tmp_path: Path) -> None:
    groups = Cgroups(Bases(folders={MEMORY: tmp_path}, unified=False))
    said = facts_of(Means.look(USUAL, groups, None, ()))
    assert (said["cpu"], said["memory"], said["tasks"]) == ("pacing alone", "cgroup v1", "not limited")


def test_a_filter_that_the_owner_has_turned_off_is_told() -> None:
    said = facts_of(Means.look(IsolationConfig(system_calls=False), None, None, ()))
    assert said["network"] == "open to all"
    assert said["system_calls"] == "all: the configuration says system_calls = false"


@pytest.mark.parametrize("state", ["/tmp/x/state", "/dev/shm/state"])
def test_state_below_everybodys_folders_can_not_be_hidden(state: str) -> None:
    assert "where processes make or read files" in why_exposed(Path(state), ())


def test_state_beside_feeds_can_be_hidden_and_above_them_it_can_not(tmp_path: Path) -> None:
    apart = Path("/var/lib/circinus/state")
    assert why_exposed(apart, ("/srv/videos",)) == ""
    assert "below /var/lib" in why_exposed(apart, ("/var/lib",))
    # A disk that is mounted later would not be seen.
    assert "below /var/lib/circinus/later" in why_exposed(apart, ("/var/lib/circinus/later",))


def test_what_is_in_force_is_noted_for_who_asks_later(tmp_path: Path) -> None:
    assert in_force(tmp_path) is None
    tell(tmp_path, {"cpu": "cgroup v2"})
    assert in_force(tmp_path) == {"cpu": "cgroup v2"}
    (tmp_path / "isolation.json").write_text("[")
    assert in_force(tmp_path) is None


def test_the_check_tells_what_a_running_agent_has(tmp_path: Path) -> None:
    config = parse_config(BOX, folder=tmp_path)
    config.state_dir.mkdir()
    tell(config.state_dir, {"memory": "watched by the agent", "cpu": "cgroup v2"})
    weak, strong = diagnose.isolation(config, runs=True)
    assert (weak.grade, weak.said) == (Grade.WARNING, "memory: watched by the agent")
    assert "Delegate=" in weak.cure
    assert (strong.grade, strong.said) == (Grade.OK, "cpu cgroup v2")


def test_a_sandbox_that_is_asked_for_and_not_there_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    config = parse_config(BOX + '[isolation]\nsandbox = "bwrap"\n', folder=tmp_path)
    fault = list(diagnose.isolation(config, runs=False))[-1]
    assert (fault.grade, fault.said) == (Grade.FAILED, 'sandbox = "bwrap", but bwrap is not installed')
    assert "apt-get install bubblewrap" in fault.cure


def test_the_owner_says_what_isolates(tmp_path: Path) -> None:
    text = BOX + '[isolation]\nsandbox = "bwrap"\ntasks = 64\nvariables = ["HF_HOME"]\nsystem_calls = false\n'
    assert parse_config(text, folder=tmp_path).isolation == IsolationConfig(
        sandbox=SandboxKind.BUBBLEWRAP, tasks=64, variables=("HF_HOME",), system_calls=False
    )
    assert parse_config(BOX, folder=tmp_path).isolation == USUAL


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('sandbox = "docker"', "must be one of none, bwrap"),
        ("tasks = 1", "must be at least 16"),
        ('variables = ["LD_PRELOAD"]', "'LD_PRELOAD', which operators can't be given"),
        ('variables = ["A=B"]', "'A=B', which operators can't be given"),
        ("networks = true", "no known key"),
    ],
)
def test_what_can_not_be_meant_is_refused(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=rf"isolation\.\w+:.* .*{re.escape(said)}"):
        parse_config(f"{BOX}[isolation]\n{line}\n", folder=tmp_path)


def test_the_environment_is_a_short_list() -> None:
    given = {"PATH": "/bin", "HOME": "/root", "CIRCINUS_TOKEN": "secret", "DATABASE_URL": "secret", "MODELS": "/m"}
    found = variables(threads=2, more=("MODELS", "MISSING"), of=given)
    assert found["OMP_NUM_THREADS"] == "2"
    assert {name: found[name] for name in given if name in found} == {"PATH": "/bin", "HOME": "/root", "MODELS": "/m"}


@pytest.mark.parametrize(
    ("text", "one", "all_of_them"),
    [
        ('{"operators": [{"id": "a", "network": true}, {"id": "b"}]}', True, True),
        ('{"operators": [{"id": "a"}, {"id": "b", "network": true}]}', False, True),
        ('{"operators": [{"id": "a", "network": "yes"}]}', False, False),
        ('{"operators": [{"id": "a"}]}', False, False),
        ('{"operators": 1}', False, False),
        ("no json", False, False),
        (None, False, False),
    ],
)
def test_the_network_is_had_by_who_declares_it(tmp_path: Path, text: str | None, one: bool, all_of_them: bool) -> None:
    if text is not None:
        (tmp_path / "pipeline.json").write_text(text)
    assert (needs_network(tmp_path, "a"), needs_network(tmp_path)) == (one, all_of_them)


def test_in_a_sandbox_what_is_shown_lies_above_what_is_hidden() -> None:
    sandbox = Sandbox(
        reads=("/opt/state/bundles/b", "/opt"),
        writes=("/opt/state/run/1",),
        hides=("/opt/state",),
        folder="/opt/state/run/1",
        network=False,
    )
    line = command("/usr/bin/bwrap", sandbox, ["python", "x"])
    text = " ".join(line)
    assert line[0] == "/usr/bin/bwrap"
    assert line[-3:] == ["--", "python", "x"]
    assert text.index("--ro-bind-try /opt /opt --") < text.index("--tmpfs /opt/state ")
    assert text.index("--tmpfs /opt/state ") < text.index("--ro-bind-try /opt/state/bundles/b")
    assert text.index("--ro-bind-try /opt/state/bundles/b") < text.index("--bind /opt/state/run/1")
    assert "--unshare-net" in line
    assert "--unshare-net" not in command("bwrap", Sandbox(reads=(), writes=(), hides=(), folder="/", network=True), [])
