"""Which system calls a serving process may not make, as a program for the kernel's filter (seccomp). PURE.

A short list of what no operator needs and what a taken-over one would try: other processes' memory, mounts,
namespaces, keys, the kernel's own extension points, the clock. Without network, only sockets of the machine itself are
left. What is refused fails with EPERM, as if the process lacked the right. io_uring is refused because its requests are
made by the kernel past any filter; ``clone3`` is said to be unknown (ENOSYS), because its flags are in memory that a
filter can't read: the C library then uses ``clone``.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

EPERM, ENOSYS = 1, 38
AF_UNIX, AF_NETLINK = 1, 16
#: Hotplug events of the kernel, which libusb waits for; nothing can be sent to anybody by it.
NETLINK_KOBJECT_UEVENT = 15
#: Namespaces: mount, cgroup, UTS, IPC, user, PID, network.
NAMESPACE_FLAGS = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000

ALLOW, KILL_PROCESS = 0x7FFF0000, 0x80000000
_ERRNO = 0x00050000
#: The instructions of the kernel's classic BPF that are used: load a word; jump if equal, at least, or any bit is set.
_LOAD, _RETURN = 0x20, 0x06
_JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY_BIT = 0x15, 0x35, 0x45
#: Where the kernel puts number, architecture and arguments (struct seccomp_data, little endian).
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16
_INSTRUCTION = struct.Struct("=HBBI")
#: From here on the numbers are those of x32, another way to the same calls.
_X32_BIT = 0x40000000


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """An architecture: what the kernel calls it, and its numbers of the calls that the filter names."""

    audit: int
    numbers: Mapping[str, int]
    has_x32: bool = False


# Both have the same numbers for what came after 2019.
_NEWER = {
    "pidfd_getfd": 438,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "mount_setattr": 442,
    "clone3": 435,
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
}
_X86_64 = {
    "socket": 41,
    "clone": 56,
    "ptrace": 101,
    "process_vm_readv": 310,
    "process_vm_writev": 311,
    "mount": 165,
    "umount2": 166,
    "pivot_root": 155,
    "chroot": 161,
    "unshare": 272,
    "setns": 308,
    "open_by_handle_at": 304,
    "add_key": 248,
    "request_key": 249,
    "keyctl": 250,
    "bpf": 321,
    "perf_event_open": 298,
    "userfaultfd": 323,
    "init_module": 175,
    "finit_module": 313,
    "delete_module": 176,
    "kexec_load": 246,
    "kexec_file_load": 320,
    "reboot": 169,
    "swapon": 167,
    "swapoff": 168,
    "acct": 163,
    "quotactl": 179,
    "settimeofday": 164,
    "clock_settime": 227,
    "clock_adjtime": 305,
    "adjtimex": 159,
    "sethostname": 170,
    "setdomainname": 171,
    "syslog": 103,
    "vhangup": 153,
    "iopl": 172,
    "ioperm": 173,
}
_AARCH64 = {
    "socket": 198,
    "clone": 220,
    "ptrace": 117,
    "process_vm_readv": 270,
    "process_vm_writev": 271,
    "mount": 40,
    "umount2": 39,
    "pivot_root": 41,
    "chroot": 51,
    "unshare": 97,
    "setns": 268,
    "open_by_handle_at": 265,
    "add_key": 217,
    "request_key": 218,
    "keyctl": 219,
    "bpf": 280,
    "perf_event_open": 241,
    "userfaultfd": 282,
    "init_module": 105,
    "finit_module": 273,
    "delete_module": 106,
    "kexec_load": 104,
    "kexec_file_load": 294,
    "reboot": 142,
    "swapon": 224,
    "swapoff": 225,
    "acct": 89,
    "quotactl": 60,
    "settimeofday": 170,
    "clock_settime": 112,
    "clock_adjtime": 266,
    "adjtimex": 171,
    "sethostname": 161,
    "setdomainname": 162,
    "syslog": 116,
    "vhangup": 58,
}
#: By what ``os.uname().machine`` says.
MACHINES: Mapping[str, Machine] = {
    "x86_64": Machine(audit=0xC000003E, numbers={**_X86_64, **_NEWER}, has_x32=True),
    "aarch64": Machine(audit=0xC00000B7, numbers={**_AARCH64, **_NEWER}),
}
#: What has rules of its own; all else is refused whatever its arguments.
_WITH_ARGUMENTS = frozenset({"socket", "clone", "clone3"})


def program(machine: Machine, *, network: bool) -> bytes:
    """The filter: an array of struct sock_filter. With ``network`` every socket may be opened."""
    code = [
        _load(_ARCHITECTURE_AT),
        # Another architecture's calls have other numbers: whoever makes them wants to get around this.
        *_unless(_JUMP_EQUAL, machine.audit, [_answer(KILL_PROCESS)]),
        _load(_NUMBER_AT),
    ]
    if machine.has_x32:
        code += _if(_JUMP_AT_LEAST, _X32_BIT, [_answer(_ERRNO | ENOSYS)])
    numbers = machine.numbers
    code += _if(_JUMP_EQUAL, numbers["clone3"], [_answer(_ERRNO | ENOSYS)])
    clone = [
        _load(_ARGUMENTS_AT),
        *_if(_JUMP_ANY_BIT, NAMESPACE_FLAGS, [_answer(_ERRNO | EPERM)]),
        _answer(ALLOW),
    ]
    code += _if(_JUMP_EQUAL, numbers["clone"], clone)
    if not network:
        code += _if(_JUMP_EQUAL, numbers["socket"], _local_sockets())
    for name in sorted(numbers.keys() - _WITH_ARGUMENTS):
        code += _if(_JUMP_EQUAL, numbers[name], [_answer(_ERRNO | EPERM)])
    code.append(_answer(ALLOW))
    return b"".join(code)


def _local_sockets() -> list[bytes]:
    return [
        _load(_ARGUMENTS_AT),
        *_if(_JUMP_EQUAL, AF_UNIX, [_answer(ALLOW)]),
        *_unless(_JUMP_EQUAL, AF_NETLINK, [_answer(_ERRNO | EPERM)]),
        _load(_ARGUMENTS_AT + 16),
        *_if(_JUMP_EQUAL, NETLINK_KOBJECT_UEVENT, [_answer(ALLOW)]),
        _answer(_ERRNO | EPERM),
    ]


def _load(offset: int) -> bytes:
    return _INSTRUCTION.pack(_LOAD, 0, 0, offset)


def _answer(value: int) -> bytes:
    return _INSTRUCTION.pack(_RETURN, 0, 0, value)


def _if(jump: int, value: int, then: Sequence[bytes]) -> list[bytes]:
    """These instructions if the comparison holds, else past them."""
    return [_INSTRUCTION.pack(jump, 0, len(then), value), *then]


def _unless(jump: int, value: int, then: Sequence[bytes]) -> list[bytes]:
    return [_INSTRUCTION.pack(jump, len(then), 0, value), *then]
