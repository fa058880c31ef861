"""The calls to the kernel by which a process gives up rights, for good and for all that it starts.

Each holds for the calling thread and what comes of it, so they are made before there is a second one. Imports the
standard library only: they are made in a bundle's environment.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import struct
from collections.abc import Mapping, Sequence

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP = 1, 4, 22
_PR_CAPBSET_READ, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 23, 24, 38, 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_SECCOMP_MODE_FILTER = 2
#: The system call itself, which knows flags, by machine.
_SYS_SECCOMP = {"x86_64": 317, "aarch64": 277}
_SECCOMP_SET_MODE_FILTER = 1
#: Kernels before 5.16 else slow all that the process computes, against a leak that a filter has nothing to do with.
_SECCOMP_FLAG_SPEC_ALLOW = 4
_SYS_CAPSET = {"x86_64": 126, "aarch64": 91}
_CAPABILITY_VERSION = 0x20080522
#: Read any file and look into any folder: what is left to a process that reads an owner's files for a root agent.
CAP_DAC_READ_SEARCH = 2
_CAP_SYS_ADMIN = 21
_CLONE_NEWNET = 0x40000000
# The same numbers on every architecture.
_SYS_LANDLOCK_CREATE, _SYS_LANDLOCK_ADD, _SYS_LANDLOCK_RESTRICT = 444, 445, 446
_LANDLOCK_RULE_PATH_BENEATH = 1
_LANDLOCK_ABI_REFER, _LANDLOCK_ABI_TRUNCATE, _LANDLOCK_ABI_SCOPE = 2, 3, 6
_LANDLOCK_SCOPE_SIGNAL = 2
_WRITE_FILE, _READ_FILE = 1 << 1, 1 << 2
#: Remove, make and link things in a folder; up to and with REFER.
_IN_FOLDERS = sum(1 << bit for bit in range(4, 14))
_TRUNCATE = 1 << 14

_libc = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def die_with_parent() -> None:
    """Has the kernel kill this process when the thread that started it is gone, however it went."""
    _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))


def hide_memory() -> None:
    """No core dumps, and no look into this process's memory and environment by others of the same user."""
    _prctl(_PR_SET_DUMPABLE, 0)


def forgo_new_rights() -> None:
    """Whatever is executed from now on has no more rights than this process: a set-user-id bit means nothing."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def drop_capabilities(keep: Sequence[int] = ()) -> None:
    """Gives up every capability but those to keep, as far as they are there; nothing to do for a plain user.

    Raises:
        OSError: a filter around this process doesn't let it.
    """
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, harmless=(errno.EINVAL,))
    for number in range(64):
        if _libc.prctl(_PR_CAPBSET_READ, number, 0, 0, 0) < 0:
            break  # the kernel knows no more of them
        if number not in keep:
            # Without the right to drop from the bounding set there is nothing to gain from it either.
            _prctl(_PR_CAPBSET_DROP, number, harmless=(errno.EPERM,))
    have = capabilities()
    kept = sum(1 << number for number in keep) & have
    machine = os.uname().machine
    if not have or machine not in _SYS_CAPSET:
        return
    header = struct.pack("=Ii", _CAPABILITY_VERSION, 0)
    low, high = kept & 0xFFFFFFFF, kept >> 32
    data = struct.pack("=6I", low, low, 0, high, high, 0)
    if _libc.syscall(_SYS_CAPSET[machine], header, data) != 0:
        raise _failed("capset")


def capabilities() -> int:
    """The bits of the capabilities that this process has, used or not."""
    bits = 0
    with contextlib.suppress(OSError), open("/proc/self/status", "rb") as file:
        for line in file:
            if line.startswith((b"CapEff:", b"CapPrm:", b"CapInh:")):
                bits |= int(line.split()[1], 16)
    return bits


def can_leave_network() -> bool:
    """Whether this process may make a network of its own without being another user in it."""
    return bool(capabilities() >> _CAP_SYS_ADMIN & 1)


def leave_network() -> None:
    """Goes into a network of its own, in which there is nothing.

    Raises:
        OSError: a filter around this process doesn't let it.
    """
    if _libc.unshare(_CLONE_NEWNET) != 0:
        raise _failed("unshare(CLONE_NEWNET)")


def can_filter() -> bool:
    """Whether the kernel takes filters of system calls."""
    # Of no program it says that there is none (EFAULT), or that it doesn't know what is meant (EINVAL).
    return _libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, None, 0, 0) != 0 and ctypes.get_errno() == errno.EFAULT


def filter_calls(program: bytes) -> None:
    """Installs a filter of system calls; see system_calls.

    Raises:
        OSError: the kernel doesn't take it.
    """
    instructions = ctypes.create_string_buffer(program, len(program))
    holder = _Program(len(program) // 8, ctypes.cast(instructions, ctypes.c_void_p))
    number = _SYS_SECCOMP.get(os.uname().machine)
    if number is not None:
        flags = _SECCOMP_FLAG_SPEC_ALLOW
        if _libc.syscall(number, _SECCOMP_SET_MODE_FILTER, flags, ctypes.byref(holder)) == 0:
            return
    # An older kernel, or a filter around us that lets only this way through.
    if _libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(holder), 0, 0) != 0:
        raise _failed("prctl(PR_SET_SECCOMP)")


def landlock_version() -> int:
    """Which version of Landlock the kernel has; 0: none, or one that would break renaming between folders."""
    version = int(_libc.syscall(_SYS_LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint(1)))
    return version if version >= _LANDLOCK_ABI_REFER else 0


def confine(version: int, paths: Mapping[str, bool] | None) -> None:
    """Files may be read below ``paths`` alone, and written below those that are true; None: anywhere.

    Where the kernel knows how, no signals go to processes that are not so confined.

    Either way the process can't trace, or read the memory of, what is outside.

    Raises:
        OSError: the kernel doesn't take it.
    """
    rights = 0
    if paths is not None:
        rights = _READ_FILE | _WRITE_FILE | _IN_FOLDERS | (_TRUNCATE if version >= _LANDLOCK_ABI_TRUNCATE else 0)
    scoped = _LANDLOCK_SCOPE_SIGNAL if version >= _LANDLOCK_ABI_SCOPE else 0
    if not rights and not scoped:
        return
    attributes = struct.pack("=QQQ", rights, 0, scoped)[: 24 if scoped else 8]
    ruleset = int(_libc.syscall(_SYS_LANDLOCK_CREATE, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint(0)))
    if ruleset < 0:
        raise _failed("landlock_create_ruleset")
    try:
        for path, written in (paths or {}).items():
            _allow(ruleset, path, rights if written else _READ_FILE)
        if _libc.syscall(_SYS_LANDLOCK_RESTRICT, ruleset, ctypes.c_uint(0)) != 0:
            raise _failed("landlock_restrict_self")
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return  # gone since, or not ours to open: then nothing needs to be allowed
    try:
        if not os.path.isdir(path):
            rights &= _READ_FILE | _WRITE_FILE | _TRUNCATE
        rule = struct.pack("=Qi", rights, place)
        if _libc.syscall(_SYS_LANDLOCK_ADD, ruleset, _LANDLOCK_RULE_PATH_BENEATH, rule, ctypes.c_uint(0)) != 0:
            raise _failed(f"landlock_add_rule for {path}")
    finally:
        os.close(place)


def _prctl(option: int, value: int, *, harmless: Sequence[int] = ()) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0 and ctypes.get_errno() not in harmless:
        raise _failed(f"prctl({option}, {value})")


def _failed(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")
