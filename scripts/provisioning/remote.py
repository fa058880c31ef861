"""One box over ssh: one connection that all its commands share, host keys checked, a log of all that was said."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from scripts.provisioning.inventory import Host

_SSH_FAILED = 255
_TIMED_OUT = 124
_CONNECT_S = 10
#: A box whose network is cut is noticed within these: three signs of life missed.
_ALIVE_S, _ALIVE_TRIES = 10, 3


class Unreachable(Exception):
    """The box can't be reached by ssh, or was lost; says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command on a box gave."""

    code: int
    output: str
    errors: str

    @property
    def last_words(self) -> str:
        """The last lines that say what went wrong."""
        lines = [line for line in (self.errors or self.output).strip().splitlines() if line.strip()]
        return " ".join(line.strip() for line in lines[-3:]) or f"exit code {self.code}"


class Remote:
    """A box, connected from ``with`` on.

    ``control_dir`` must have a short path: a socket's name is limited to about a hundred bytes.
    """

    def __init__(self, host: Host, *, control_dir: Path, log_dir: Path, accept_new_keys: bool = False) -> None:
        self.host = host
        self._log_path = log_dir / f"{host.name}.log"
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": str(_CONNECT_S),
            "ControlPath": str(control_dir / "%C"),
            "ServerAliveInterval": str(_ALIVE_S),
            "ServerAliveCountMax": str(_ALIVE_TRIES),
            "StrictHostKeyChecking": "accept-new" if accept_new_keys else "yes",
            "LogLevel": "ERROR",
        }
        if host.known_hosts:
            options["UserKnownHostsFile"] = host.known_hosts
        if host.identity_file:
            options["IdentityFile"] = host.identity_file
            options["IdentitiesOnly"] = "yes"
        flags = [part for key, value in options.items() for part in ("-o", f"{key}={value}")]
        self._ssh = ["ssh", "-T", "-p", str(host.port), *flags]
        self._where = ["--", f"{host.user}@{host.address}"]

    def __enter__(self) -> Remote:
        self._log_path.parent.mkdir(parents=True, exist_ok=True)
        # The master lives on in the background with what it was given: a pipe would never end.
        with tempfile.TemporaryFile() as said:
            try:
                done = subprocess.run(
                    [*self._ssh, "-o", "ControlMaster=yes", "-o", "ControlPersist=120", "-N", "-f", *self._where],
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=said,
                    timeout=3 * _CONNECT_S,
                    check=False,
                )
                code = done.returncode
            except subprocess.TimeoutExpired:
                code = _TIMED_OUT
            said.seek(0)
            words = said.read().decode(errors="replace").strip()
        self._log(f"connect: {code} {words}")
        if code != 0:
            raise Unreachable(_connect_cure(words or f"no answer within {3 * _CONNECT_S} s"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        subprocess.run([*self._ssh, "-O", "exit", *self._where], capture_output=True, check=False, timeout=30)

    def run(self, command: str, *, stdin: bytes = b"", timeout_s: float = 600.0, as_root: bool = False) -> Answer:
        """Runs a line of shell on the box.

        Raises:
            Unreachable: the connection broke, or there was no answer in time.
        """
        if as_root and self.host.become:
            command = f"{self.host.become} sh -c {shlex.quote(command)}"
        self._log(f"$ {command}")
        try:
            done = subprocess.run(
                [*self._ssh, "-o", "ControlMaster=no", *self._where, command],
                input=stdin,
                capture_output=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise Unreachable(f"no answer within {timeout_s:g} s") from error
        answer = Answer(
            code=done.returncode,
            output=done.stdout.decode(errors="replace"),
            errors=done.stderr.decode(errors="replace"),
        )
        self._log(f"{answer.output}{answer.errors}exit code {answer.code}")
        if answer.code == _SSH_FAILED:
            raise Unreachable(f"the connection was lost: {answer.last_words}")
        return answer

    def upload(self, source: Path, target: str) -> None:
        """Puts a file on the box, whole or not at all.

        Raises:
            Unreachable: the connection broke.
            OSError: the box can't take it.
        """
        part = shlex.quote(f"{target}.part")
        self._log(f"upload {source} -> {target}")
        with source.open("rb") as file:
            done = subprocess.run(
                [*self._ssh, "-o", "ControlMaster=no", *self._where, f"cat >{part} && mv {part} {shlex.quote(target)}"],
                stdin=file,
                capture_output=True,
                check=False,
            )
        words = done.stderr.decode(errors="replace").strip()
        if done.returncode == _SSH_FAILED:
            raise Unreachable(f"the connection was lost while {source.name} was sent: {words}")
        if done.returncode != 0:
            raise OSError(f"{source.name} can't be stored there: {words}")

    def _log(self, text: str) -> None:
        with self._log_path.open("a", encoding="utf-8") as log:
            log.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {text}\n")


def _connect_cure(words: str) -> str:
    cures = {
        "Host key verification failed": "its host key is not known here, or is another: look at it on the box, then "
        "add it to known_hosts; --accept-new-host-keys takes unknown ones as they come",
        "Permission denied": "the key is not allowed there: look at user and identity_file",
    }
    for sign, cure in cures.items():
        if sign in words:
            return f"{words.splitlines()[-1]} -> {cure}"
    return words.splitlines()[-1]
