"""Control groups in trees of files: what is found, what is written, what is left alone."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from edge_agent import cgroups
from edge_agent.cgroups import CPU, MEMORY, PIDS, Bases, Cgroups, detect, use

GONE = 2**22 - 1  # above the largest number that a process can have


def write(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def old_tree(root: Path, *controllers: str, path: str = "/box") -> tuple[Path, Path]:
    """/proc files of a process in a tree of version 1 with these controllers."""
    probes = {CPU: "cpu.cfs_quota_us", MEMORY: "memory.limit_in_bytes", PIDS: "pids.max"}
    mounts = [f"1 0 0:1 / {root} rw - tmpfs tmpfs rw"]
    own = []
    for index, name in enumerate(controllers):
        names = "cpu,cpuacct" if name == CPU else name
        place = root / names / path.lstrip("/")
        write(place / "cgroup.procs")
        write(place / probes[name])
        mounts.append(f"2 1 0:{index} / {root / names} rw shared:9 - cgroup cgroup rw,{names}")
        own.append(f"{index + 2}:{names}:{path}")
    write(root / "own", "\n".join([*own, "0::/"]))
    write(root / "mounts", "\n".join(mounts))
    return root / "own", root / "mounts"


def new_tree(
    root: Path, path: str, *, offered: str = "cpu io memory pids", members: str = "", enabled: str = ""
) -> tuple[Path, Path]:
    """/proc files of a process in a tree of version 2."""
    place = root / path.lstrip("/")
    write(place / "cgroup.controllers", offered)
    write(place / "cgroup.subtree_control", enabled)
    write(place / "cgroup.procs", members)
    if path != "/":
        write(place / "cgroup.type", "domain")
    write(root.parent / "own", f"0::{path}\n")
    write(root.parent / "mounts", f"1 0 0:1 / {root} rw,nosuid - cgroup2 cgroup rw,nsdelegate\n")
    return root.parent / "own", root.parent / "mounts"


SETTINGS = (
    *("cgroup.procs", "cpu.max", "cpu.weight.nice", "memory.max", "memory.oom.group", "pids.max"),
    *("cpu.cfs_quota_us", "cpu.cfs_period_us", "memory.limit_in_bytes"),
)


@pytest.fixture
def kernel_makes_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new group has its settings as files, as the kernel makes them."""
    make = Path.mkdir

    def with_files(place: Path, *rest: object, **named: object) -> None:
        make(place, *rest, **named)  # type: ignore[arg-type]
        if place.name.startswith("circinus-"):
            for name in SETTINGS:
                (place / name).touch()

    monkeypatch.setattr(Path, "mkdir", with_files)


def test_each_controller_of_version_1_is_found_by_itself(tmp_path: Path) -> None:
    found = detect(*old_tree(tmp_path, CPU, MEMORY))
    assert found == Bases(folders={CPU: tmp_path / "cpu,cpuacct/box", MEMORY: tmp_path / "memory/box"}, unified=False)
    assert found.controllers == (CPU, MEMORY)


def test_a_containers_group_is_the_root_of_what_it_sees(tmp_path: Path) -> None:
    own, mounts = old_tree(tmp_path, CPU, path="/")
    own.write_text("2:cpu,cpuacct:/docker/1234\n")
    mounts.write_text(mounts.read_text().replace("0:0 / ", "0:0 /docker/1234 "))
    found = detect(own, mounts)
    assert found is not None
    assert found.folders == {CPU: tmp_path / "cpu,cpuacct"}


def test_nothing_is_found_where_there_is_nothing(tmp_path: Path) -> None:
    assert detect(tmp_path / "own", tmp_path / "mounts") is None


@pytest.mark.usefixtures("kernel_makes_files")
def test_limits_of_version_1_are_written_where_they_belong(tmp_path: Path) -> None:
    bases = detect(*old_tree(tmp_path, CPU, MEMORY, PIDS))
    assert bases is not None
    group = Cgroups(bases).make(memory_bytes=300_000_000, tasks=77)
    assert group is not None
    assert group.limits_memory
    group.add(4242)
    group.limit_cores(1.5)
    name = f"circinus-{os.getpid()}-1"
    cpu, memory, pids = (bases.folders[key] / name for key in (CPU, MEMORY, PIDS))
    assert (cpu / "cpu.cfs_period_us").read_text() == "10000"
    assert (cpu / "cpu.cfs_quota_us").read_text() == "15000"
    assert (memory / "memory.limit_in_bytes").read_text() == "300000000"
    assert (pids / "pids.max").read_text() == "77"
    assert {(place / "cgroup.procs").read_text() for place in (cpu, memory, pids)} == {"4242"}


@pytest.mark.usefixtures("kernel_makes_files")
def test_what_goes_after_others_stays_where_nice_values_count(tmp_path: Path) -> None:
    bases = detect(*old_tree(tmp_path, CPU, MEMORY))
    assert bases is not None
    group = Cgroups(bases).make(memory_bytes=0, tasks=77, nice=5)
    assert group is not None
    name = f"circinus-{os.getpid()}-1"
    assert not (bases.folders[CPU] / name).exists()
    assert (bases.folders[MEMORY] / name).exists()
    assert not group.limits_memory


@pytest.mark.parametrize("unified", [False, True])
def test_a_kill_for_memory_is_known(tmp_path: Path, unified: bool) -> None:
    group = cgroups.Group({MEMORY: tmp_path}, unified=unified)
    group.memory_limit_bytes = 1
    events = tmp_path / ("memory.events" if unified else "memory.oom_control")
    assert not group.ran_out_of_memory()
    write(events, "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n")
    assert not group.ran_out_of_memory()
    write(events, "oom 3\noom_kill 1\n")
    assert group.ran_out_of_memory()


def test_an_agent_with_a_group_for_itself_makes_room_for_others(tmp_path: Path) -> None:
    own, mounts = new_tree(tmp_path / "tree", "/system.slice/edge-agent.service", members=f"{os.getpid()}\n")
    bases = detect(own, mounts)
    base = tmp_path / "tree/system.slice/edge-agent.service"
    assert bases == Bases(folders=dict.fromkeys((CPU, MEMORY, PIDS), base), unified=True, own=base)
    groups = use(bases)
    assert groups is not None
    assert (groups.version, groups.controllers) == (2, (CPU, MEMORY, PIDS))
    assert (base / "agent/cgroup.procs").read_text() == str(os.getpid())
    assert (base / "cgroup.subtree_control").read_text() == "+pids"


def test_a_group_with_others_processes_is_left_alone(tmp_path: Path) -> None:
    own, mounts = new_tree(tmp_path / "tree", "/user.slice/session-1.scope", members=f"1\n{os.getpid()}\n")
    assert detect(own, mounts) is None


def test_systemd_may_have_put_the_agent_into_a_group_of_its_own(tmp_path: Path) -> None:
    new_tree(tmp_path / "tree", "/edge-agent.service", members="")
    own, mounts = new_tree(tmp_path / "tree", "/edge-agent.service/agent", members=f"{os.getpid()}\n")
    found = detect(own, mounts)
    assert found is not None
    assert (found.folders[CPU], found.own) == (tmp_path / "tree/edge-agent.service", None)


def test_the_root_of_version_2_needs_no_move(tmp_path: Path) -> None:
    found = detect(*new_tree(tmp_path / "tree", "/", members="1\n2\n"))
    assert found is not None
    assert found.own is None


def test_a_tree_without_controllers_is_none(tmp_path: Path) -> None:
    assert detect(*new_tree(tmp_path / "tree", "/box", offered="", members=f"{os.getpid()}")) is None


@pytest.mark.usefixtures("kernel_makes_files")
def test_limits_of_version_2(tmp_path: Path) -> None:
    groups = Cgroups(Bases(folders=dict.fromkeys((CPU, MEMORY, PIDS), tmp_path), unified=True))
    group = groups.make(memory_bytes=1_000, tasks=16, nice=5)
    assert group is not None
    group.limit_cores(0.05)
    place = tmp_path / f"circinus-{os.getpid()}-1"
    settings = ("memory.max", "memory.oom.group", "pids.max", "cpu.weight.nice", "cpu.max")
    assert [(place / name).read_text() for name in settings] == ["1000", "1", "16", "5", "1000 10000"]


def test_groups_of_agents_that_are_gone_are_swept_and_those_of_others_stay(tmp_path: Path) -> None:
    names = (f"circinus-{GONE}-1", f"circinus-{os.getppid()}-1", f"circinus-{os.getpid()}-9", "somebodys")
    for name in names:
        (tmp_path / name).mkdir()
    Cgroups(Bases(folders={CPU: tmp_path}, unified=False)).sweep()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names[1:])


def real_group() -> Path | None:
    """A group of version 2 in which groups can be made; None: there is none here."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        place = Path(line.split()[4])
        if " - cgroup2 " in line and os.access(place, os.W_OK) and (place / "cgroup.subtree_control").exists():
            return place
    return None


@pytest.mark.slow
@pytest.mark.skipif(real_group() is None, reason="no groups of version 2 can be made here")
def test_the_kernel_ends_all_of_a_real_group_of_version_2() -> None:
    base = real_group()
    assert base is not None
    groups = Cgroups(Bases(folders={CPU: base}, unified=True))
    group = groups.make(memory_bytes=0, tasks=16)
    assert group is not None
    children = [subprocess.Popen(["/bin/sleep", "600"], start_new_session=True) for _ in range(3)]
    for child in children:
        group.add(child.pid)
    assert group.pids() == {child.pid for child in children}
    groups.release(group)
    assert [child.wait(30) for child in children] == [-9, -9, -9]
    groups.tidy()
    assert not list(base.glob(f"circinus-{os.getpid()}-*"))


def test_a_group_that_is_not_empty_yet_is_taken_away_later(tmp_path: Path) -> None:
    groups = Cgroups(Bases(folders={MEMORY: tmp_path}, unified=False))
    group = groups.make(memory_bytes=0, tasks=16)
    assert group is not None
    (place,) = tmp_path.iterdir()
    (place / "held").touch()
    groups.release(group)
    assert place.exists()
    (place / "held").unlink()
    groups.tidy()
    assert not place.exists()
