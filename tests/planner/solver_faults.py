"""Solvers that do what solvers should not, for the tests of the process that one runs in."""

import ctypes
import os
import time
from dataclasses import dataclass, replace

from cloud_planner.solver import CbcSolver


class Crashing:
    def solve(self, milp, work):
        os.abort()


class Hanging:
    """Stands still where no Python code can interrupt it."""

    def solve(self, milp, work):
        ctypes.PyDLL(None).sleep(60)


class Hungry:
    def solve(self, milp, work):
        held = []
        while True:
            held.append(b"x" * 2**24)


class HungryInC:
    """Takes memory as C code does, and writes to what it didn't get."""

    def solve(self, milp, work):
        libc = ctypes.CDLL(None)
        libc.malloc.restype = ctypes.c_void_p
        libc.malloc.argtypes = [ctypes.c_size_t]
        libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
        while True:
            libc.memset(libc.malloc(2**22), 1, 2**22)
            time.sleep(0.005)


@dataclass
class Lying:
    """CBC's answer, changed."""

    changes: dict

    def solve(self, milp, work):
        return replace(CbcSolver().solve(milp, work), **self.changes)


@dataclass
class Once:
    """Fails the first time, by the file that it leaves."""

    path: str

    def solve(self, milp, work):
        if not os.path.exists(self.path):
            open(self.path, "w").close()
            os.abort()
        return CbcSolver().solve(milp, work)


def pid_of(value):
    return os.getpid()


def double(value):
    return 2 * value


def no_answer(value):
    return lambda: None


def nap(seconds):
    time.sleep(seconds)
    return seconds


def outlive(path):
    """Says who it is and stands still in C, holding the interpreter's lock."""
    with open(path, "w") as file:
        file.write(str(os.getpid()))
    ctypes.PyDLL(None).sleep(60)
