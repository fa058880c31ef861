"""The filter of system calls: as a program that is interpreted here, and as the kernel runs it."""

from __future__ import annotations

import os
import socket
import struct

import pytest
from isolated_child import run

from edge_agent.isolation import kernel
from edge_agent.isolation.system_calls import (
    ALLOW,
    EPERM,
    KILL_PROCESS,
    MACHINES,
    NETLINK_KOBJECT_UEVENT,
    Machine,
    program,
)

REFUSED, UNKNOWN = 0x00050000 | EPERM, 0x00050000 | 38
CLONE_THREAD_FLAGS = 0x003D0F00
CLONE_NEWUSER = 0x10000000
needs_filter = pytest.mark.skipif(
    os.uname().machine not in MACHINES or not kernel.can_filter(), reason="the kernel takes no filter here"
)


def answer(code: bytes, *, audit: int, number: int, arguments: tuple[int, ...] = ()) -> int:
    """What the kernel would say: its classic BPF, as far as the program uses it."""
    data = struct.pack("<IIQ6Q", number, audit, 0, *(*arguments, 0, 0, 0, 0, 0, 0)[:6])
    held, at = 0, 0
    while True:
        kind, true, false, value = struct.unpack_from("=HBBI", code, 8 * at)
        at += 1
        if kind == 0x20:
            (held,) = struct.unpack_from("<I", data, value)
        elif kind == 0x06:
            return value
        else:
            holds = {0x15: held == value, 0x35: held >= value, 0x45: bool(held & value)}[kind]
            at += true if holds else false


@pytest.fixture(params=sorted(MACHINES))
def machine(request: pytest.FixtureRequest) -> Machine:
    return MACHINES[request.param]


def said(machine: Machine, name: str, *arguments: int, network: bool = False) -> int:
    code = program(machine, network=network)
    return answer(code, audit=machine.audit, number=machine.numbers[name], arguments=arguments)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, 17, 40, socket.AF_NETLINK])
def test_sockets_to_elsewhere_need_the_network(machine: Machine, family: int) -> None:
    assert said(machine, "socket", family, 1) == REFUSED
    assert said(machine, "socket", family, 1, network=True) == ALLOW


def test_sockets_of_the_machine_and_hotplug_events_stay(machine: Machine) -> None:
    assert said(machine, "socket", socket.AF_UNIX, 1) == ALLOW
    assert said(machine, "socket", socket.AF_NETLINK, 3, NETLINK_KOBJECT_UEVENT) == ALLOW


@pytest.mark.parametrize("name", ["ptrace", "mount", "keyctl", "bpf", "process_vm_readv", "io_uring_setup", "setns"])
@pytest.mark.parametrize("network", [False, True])
def test_what_no_operator_needs_is_refused(machine: Machine, name: str, network: bool) -> None:
    assert said(machine, name, network=network) == REFUSED


def test_threads_and_children_are_made_and_namespaces_are_not(machine: Machine) -> None:
    assert said(machine, "clone", CLONE_THREAD_FLAGS) == ALLOW
    assert said(machine, "clone", 17) == ALLOW
    assert said(machine, "clone", CLONE_NEWUSER | 17) == REFUSED
    assert said(machine, "clone3") == UNKNOWN


def test_all_else_is_allowed(machine: Machine) -> None:
    code = program(machine, network=False)
    named = set(machine.numbers.values())
    for number in range(470):
        if number not in named:
            assert answer(code, audit=machine.audit, number=number) == ALLOW


def test_another_architecture_is_no_way_around(machine: Machine) -> None:
    code = program(machine, network=True)
    i386, x32_socket = 0x40000003, 0x40000000 + 41
    assert answer(code, audit=i386, number=41) == KILL_PROCESS
    if machine.has_x32:
        assert answer(code, audit=machine.audit, number=x32_socket) == UNKNOWN


@needs_filter
@pytest.mark.slow
def test_the_kernel_takes_the_filter_and_children_have_it_too() -> None:
    found = run(
        "import ctypes, json, socket, subprocess, sys, threading\n"
        "def tried(make):\n"
        "    try:\n"
        "        make()\n"
        "    except OSError as error:\n"
        "        return error.errno\n"
        "    return 0\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "code = 'import socket; socket.socket()'\n"
        "thread = threading.Thread(target=print)\n"
        "thread.start(); thread.join()\n"
        "print(json.dumps({\n"
        "    'tcp': tried(lambda: socket.socket(socket.AF_INET)),\n"
        "    'unix': tried(lambda: socket.socket(socket.AF_UNIX)),\n"
        "    'child': subprocess.run([sys.executable, '-c', code], stderr=subprocess.DEVNULL).returncode,\n"
        "    'ptrace': libc.ptrace(0, 0, 0, 0),\n"
        "}))\n"
    )
    assert found == {"tcp": EPERM, "unix": 0, "child": 1, "ptrace": -1}


@pytest.mark.slow
@pytest.mark.skipif(not kernel.can_leave_network(), reason="this user may make no network namespace")
@pytest.mark.parametrize("system_calls", [False, True])
def test_an_agent_that_may_gives_an_operator_a_network_with_nothing_in_it(system_calls: bool) -> None:
    found = run(
        "import json\n"
        "print(json.dumps([line.split(':')[0].strip() for line in open('/proc/net/dev').readlines()[2:]]))",
        own_network=True,
        system_calls=system_calls,
    )
    assert found == ["lo"]


@needs_filter
@pytest.mark.slow
def test_who_declares_the_network_has_it() -> None:
    found = run("import json, socket\nsocket.socket(socket.AF_INET).close()\nprint(json.dumps('open'))", network=True)
    assert found == "open"
